//! FiFo's API as it really behaves.
