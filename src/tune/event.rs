//! What a trainer says as it goes: one JSON object per line on its standard output.

use serde::Deserialize;

/// A line of the trainer's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TrainEvent {
    Begin { device: String, torch: String, rows: u64, steps: u64, trained_parameters: u64 },
    Resumed { step: u64 },
    Step { step: u64, of: u64, epoch: u64, loss: f64 },
    Valid { epoch: u64, loss: f64, accuracy: f64, best: bool },
    Checkpoint { step: u64 },
    Stopped { step: u64 },
    Done { epochs: u64, seconds: f64, best: Best },
    Error { message: String },
}

/// The validation of the adapter that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, serde::Serialize)]
pub struct Best {
    pub epoch: u64,
    pub loss: f64,
    pub accuracy: f64,
}

impl TrainEvent {
    /// A line as an event; `None` for anything else that a library prints.
    #[must_use]
    pub fn read(line: &str) -> Option<TrainEvent> {
        serde_json::from_str(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trainers_lines_are_read_and_others_passed_over() {
        let step = r#"{"event": "step", "step": 3, "of": 60, "epoch": 1, "loss": 2.5, "seconds": 4.1}"#;
        assert_eq!(TrainEvent::read(step), Some(TrainEvent::Step { step: 3, of: 60, epoch: 1, loss: 2.5 }));
        let done = r#"{"event":"done","epochs":2,"seconds":9.5,"best":{"loss":0.5,"accuracy":0.75,"epoch":1}}"#;
        let best = Best { epoch: 1, loss: 0.5, accuracy: 0.75 };
        assert_eq!(TrainEvent::read(done), Some(TrainEvent::Done { epochs: 2, seconds: 9.5, best }));
        assert_eq!(TrainEvent::read("Loading weights: 100%"), None);
        assert_eq!(TrainEvent::read(r#"{"event":"unknown"}"#), None);
    }
}
