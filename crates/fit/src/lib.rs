//! Numbers from labels: what a user's rows teach about a model's answers, thresholds with a promise, and whether it all still holds.
//!
//! Pure: it knows neither files nor engines nor clocks. The same rows give the same bits, on any machine and any number of threads.

pub mod card;
pub mod decision;
pub mod drift;
pub mod evidence;
pub mod expert;
pub mod faults;
pub mod fit;
pub mod layers;
pub mod learn;
pub mod method;
pub mod promise;

pub use card::{Card, FieldCard, Figures, Pins};
pub use decision::{Abstention, Decision, Gate};
pub use evidence::Evidence;
pub use fit::{FieldFit, Fit};
pub use layers::{FitLayerError, FitLayers};
pub use learn::{Labelled, LearnError, LearnRequest, Learned, Refusal, centring, learn, learn_words};
pub use method::{Method, MethodName, Pool};
