//! The row of a question alone, for its hidden state after some layers: what is before it is evaluated whole and kept as ever, and
//! the row's own decodes end where the state is read.
//!
//! Their cells lack the keys and values of later layers, so that none of them outlives the question.

use super::super::super::caller::Caller;
use super::super::super::chunks::chunks;
use super::super::super::{Counts, EngineError, StateAt};
use super::super::question::Question;
use super::super::{N_BATCH, PrefixReuse};
use super::ScoreLane;

impl ScoreLane<'_> {
    /// Evaluates the row as far as its state, which is read on the way. Nothing of the row is in the lane afterwards.
    pub(super) fn evaluate_row(
        &mut self,
        question: &Question,
        counts: &mut Counts,
        caller: &Caller,
    ) -> Result<(), EngineError> {
        let (needed, n_ctx) = (question.trunk.len(), self.model.info().n_ctx as usize);
        if needed > n_ctx {
            return Err(EngineError::Context { needed, n_ctx });
        }
        let plan = chunks(question.trunk.len(), question.border, N_BATCH as usize);
        let row_start = self.state.row_start().unwrap_or_default();
        let (before, row) = plan.split_at(plan.iter().take_while(|chunk| chunk.end <= row_start).count());
        if self.model.prefix_reuse == PrefixReuse::Never {
            self.clear();
        }
        self.evaluate_chunks(question, before, before.len(), counts, caller)?;
        for chunk in row {
            caller.check()?;
            self.decode_chunk(&question.trunk[chunk.clone()], chunk.start)?;
        }
        if self.model.prefix_reuse == PrefixReuse::Never {
            self.clear();
            return Ok(());
        }
        self.remove_from(row_start)
    }
}

impl Question {
    /// Whether it wants nothing but a state after some layers.
    pub(super) fn tells_layers(&self) -> bool {
        self.state.is_some_and(|wish| matches!(wish.at, StateAt::Layers(_)))
    }
}
