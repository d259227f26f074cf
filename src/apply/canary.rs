//! The gate before every local delete: the first one goes alone and is checked before any other may start.

use std::sync::OnceLock;
use tokio::sync::{Mutex, MutexGuard};

/// Whether local deletes may start.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Whether a local delete of this run has been seen to do what it should.
    is_open: Mutex<bool>,
    /// Why none may start any more.
    closed: OnceLock<String>,
}

/// Leave to do one local delete.
#[derive(Debug)]
pub(super) struct Pass<'g> {
    gate: &'g Gate,
    /// Held while this is the first one: everybody else waits.
    first: Option<MutexGuard<'g, bool>>,
}

impl Gate {
    /// Waits until a local delete may start; gives the reason when none may any more.
    pub(super) async fn pass(&self) -> Result<Pass<'_>, String> {
        let is_open = self.is_open.lock().await;
        let pass = Pass { gate: self, first: (!*is_open).then_some(is_open) };
        pass.still_holds()?;
        Ok(pass)
    }
}

impl Pass<'_> {
    /// Says whether the delete may still be sent: somebody else's may have gone wrong since the pass was given.
    pub(super) fn still_holds(&self) -> Result<(), String> {
        self.gate.closed.get().map_or(Ok(()), |reason| Err(reason.clone()))
    }

    /// Says that this delete was seen to do what it should, and nothing else: others may start.
    ///
    /// A pass that is dropped without a word leaves the gate as it was: then the next one goes alone.
    pub(super) fn went_well(mut self) {
        if let Some(is_open) = self.first.as_deref_mut() {
            *is_open = true;
        }
    }

    /// Says that something is wrong: no further local delete may start in this run. The first reason stays.
    pub(super) fn close(self, reason: String) {
        self.gate.closed.get_or_init(|| reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn the_first_goes_alone_until_it_went_well() {
        let gate = Gate::default();
        let first = gate.pass().await.unwrap();
        assert!(gate.pass().now_or_never().is_none());
        drop(first);
        let again_first = gate.pass().now_or_never().unwrap().unwrap();
        assert!(gate.pass().now_or_never().is_none());
        again_first.went_well();
        let (one, two) = (gate.pass().await.unwrap(), gate.pass().await.unwrap());
        assert_eq!(two.still_holds(), Ok(()));
        one.close("unverified".to_owned());
        assert_eq!(two.still_holds().unwrap_err(), "unverified", "one that has passed is held back as well");
        assert_eq!(gate.pass().await.unwrap_err(), "unverified");
    }
}
