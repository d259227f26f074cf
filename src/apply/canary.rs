//! The gate before every local delete: the first one goes alone and is checked before any other may start.

use tokio::sync::{Mutex, MutexGuard};

/// Whether local deletes may start.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    /// No local delete of this run has been seen to do what it should.
    #[default]
    Untried,
    /// One has.
    Open,
    /// Something is wrong; none may start any more.
    Closed(String),
}

/// Leave to do one local delete.
#[derive(Debug)]
pub(super) struct Pass<'g> {
    gate: &'g Gate,
    /// Held while this is the first one: everybody else waits.
    first: Option<MutexGuard<'g, State>>,
}

impl Gate {
    /// Waits until a local delete may start; gives the reason when none may any more.
    pub(super) async fn pass(&self) -> Result<Pass<'_>, String> {
        let state = self.0.lock().await;
        match &*state {
            State::Untried => Ok(Pass { gate: self, first: Some(state) }),
            State::Open => Ok(Pass { gate: self, first: None }),
            State::Closed(reason) => Err(reason.clone()),
        }
    }
}

impl Pass<'_> {
    /// Says that this delete was seen to do what it should, and nothing else: others may start.
    ///
    /// A pass that is dropped without a word leaves the gate as it was: then the next one goes alone.
    pub(super) fn went_well(mut self) {
        if let Some(state) = self.first.as_deref_mut() {
            *state = State::Open;
        }
    }

    /// Says that something is wrong: no further local delete may start in this run.
    pub(super) async fn close(self, reason: String) {
        match self.first {
            Some(mut state) => *state = State::Closed(reason),
            None => *self.gate.0.lock().await = State::Closed(reason),
        }
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
        one.close("unverified".to_owned()).await;
        drop(two);
        assert_eq!(gate.pass().await.unwrap_err(), "unverified");
    }
}
