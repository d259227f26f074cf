//! Which generation of FiFo is simulated, and how it writes JSON.

use serde::{Deserialize, Serialize};

/// The generation of FiFo that is simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApiStyle {
    /// 2015: `x-snarl-token`, sizes at a record's top level, the new backup's UUID in `location`.
    V2,
    /// 2016 on: Bearer tokens, streamed lists, sizes by file.
    #[default]
    V3,
}

/// How a map without entries is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyMaps {
    /// `[]`, until 2016.
    #[default]
    Array,
    /// `{}`, from 2017.
    Object,
}

/// Both together decide on every shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The generation of FiFo.
    pub style: ApiStyle,
    /// How a map without entries is written.
    pub empty_maps: EmptyMaps,
}
