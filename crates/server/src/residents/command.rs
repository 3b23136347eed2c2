//! Messages to the owner of all engines.

use std::time::Duration;

use tokio::sync::oneshot;

use super::lease::EngineLease;
use super::roster::{EngineId, Ticket};
use super::{Order, Refusal, Resident, Snapshot, Tenant};
use slm_values::model_ref::ModelRef;

#[derive(Debug)]
pub enum Command {
    Acquire(Ticket, Box<Order>, oneshot::Sender<Result<EngineLease, Refusal>>),
    Withdraw(Ticket),
    Leave(EngineId, Tenant),
    /// By the name that it was asked for.
    Unload(ModelRef, oneshot::Sender<Option<usize>>),
    List(oneshot::Sender<Vec<Resident>>),
    Snapshot(oneshot::Sender<Snapshot>),
    Drain(Duration, oneshot::Sender<()>),
}
