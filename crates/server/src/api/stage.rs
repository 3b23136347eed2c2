//! Where each request is that has not been answered to its end, by the request's id: a person who waits is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::admission::gates::Ticket;

/// How far a request has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// It is being read, or needs no model.
    #[default]
    Received,
    /// It waits for its turn.
    InLine(Ticket),
    /// It waits for its model to be loaded.
    Loading,
    /// Its model works on it.
    Answering,
}

/// How far one request has come. Its clones are of the same request.
#[derive(Debug, Clone, Default)]
pub struct Reached(Arc<Mutex<Stage>>);

/// The requests that are in flight. Its clones are of the same ones.
#[derive(Debug, Clone, Default)]
pub struct Stages(Arc<Mutex<HashMap<String, Reached>>>);

/// A request that is in flight as long as this lives.
#[derive(Debug)]
pub struct Listed {
    stages: Stages,
    id: String,
    reached: Reached,
}

impl Reached {
    pub fn set(&self, stage: Stage) {
        *self.lock() = stage;
    }

    #[must_use]
    pub fn get(&self) -> Stage {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stages {
    /// Lists a request. Where another one has the same id, the later one is found by it.
    #[must_use]
    pub fn list(&self, id: &str, reached: Reached) -> Listed {
        self.entries().insert(id.to_owned(), reached.clone());
        Listed { stages: self.clone(), id: id.to_owned(), reached }
    }

    /// How far the request with this id has come; `None` where it is not in flight.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Stage> {
        self.entries().get(id).map(Reached::get)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Reached>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut entries = self.stages.entries();
        if entries.get(&self.id).is_some_and(|known| Arc::ptr_eq(&known.0, &self.reached.0)) {
            entries.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_by_its_id_until_it_ends() {
        let (stages, reached) = (Stages::default(), Reached::default());
        let first = stages.list("a", reached.clone());
        reached.set(Stage::Loading);
        assert_eq!(stages.find("a"), Some(Stage::Loading));
        let second = stages.list("a", Reached::default());
        drop(first);
        assert_eq!(stages.find("a"), Some(Stage::Received));
        drop(second);
        assert!(stages.find("a").is_none() && stages.entries().is_empty());
    }
}
