//! Which llama.cpp sequences hold which tokens, and how many cells of the context that takes: the bookkeeping of prefix reuse, without llama.cpp.
//!
//! A slot is one sequence number of the context. A busy slot belongs to a running request; an idle one keeps what it
//! evaluated for requests that begin in the same way. Taking over a prefix copies no data: llama.cpp marks the cells as
//! belonging to the new sequence too, so a child's cells are counted from where it leaves its parent. It never touches
//! llama.cpp: what has to happen there is left as [`Effect`]s, in order.

use super::Token;

/// A change of the context's memory, to be made before the next decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Removes the slot's cells from position `from` on.
    Truncate { slot: usize, from: usize },
    /// Lets the first `n` positions of `from` belong to `to` too, which is empty.
    Copy { from: usize, to: usize, n: usize },
}

/// Whether evaluated prefixes may serve another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Any beginning of a sequence can be shared.
    Prefix,
    /// The same while nothing has slid out of its window.
    WhileWhole,
    /// Recurrent and hybrid state cannot be rolled back to a beginning.
    Never,
}

/// The slots of one context.
#[derive(Debug)]
pub struct Slots {
    slots: Vec<Slot>,
    n_cells: usize,
    reuse: Reuse,
    clock: u64,
    effects: Vec<Effect>,
}

#[derive(Debug, Clone)]
struct Slot {
    state: State,
    /// Requests of other groups (other adapters) have other keys and values for the same tokens.
    group: u32,
    /// What is evaluated, from position 0.
    tokens: Vec<Token>,
    /// The slot that the first tokens are shared with, and how many they are.
    parent: Option<(usize, usize)>,
    /// Cells promised to the running request, counted from position 0.
    reserved: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Busy,
    Idle { last_used: u64 },
}

/// A request's wish for a slot.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'t> {
    pub group: u32,
    pub tokens: &'t [Token],
    /// How many tokens may come from another slot: the last one must be evaluated to be read.
    pub max_reused: usize,
    /// Cells that must be there for it, reused ones included.
    pub reserve: usize,
}

/// A slot that a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    pub slot: usize,
    pub n_reused: usize,
}

impl Slots {
    /// `n_slots` empty slots over `n_cells` cells.
    #[must_use]
    pub fn new(n_slots: usize, n_cells: usize, reuse: Reuse) -> Self {
        let empty = Slot { state: State::Free, group: 0, tokens: Vec::new(), parent: None, reserved: 0 };
        Slots { slots: vec![empty; n_slots], n_cells, reuse, clock: 0, effects: Vec::new() }
    }

    /// The changes since the last call, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// A slot with the longest evaluated beginning that there is, or `None` until something ends.
    ///
    /// `is_whole` says whether a slot still has all its cells: a sliding window gives old ones away.
    pub fn acquire(&mut self, wish: Wish<'_>, is_whole: &dyn Fn(usize) -> bool) -> Option<Grant> {
        let source = self.longest_match(wish, is_whole);
        let n = source.map_or(0, |(_, n)| n);
        if !self.make_room(wish.reserve.saturating_sub(n), source) {
            return None;
        }
        if let Some((slot, n)) = source
            && self.can_change_hands(slot, n)
        {
            self.keep(slot, n);
            self.slots[slot].state = State::Busy;
            self.slots[slot].reserved = wish.reserve;
            return Some(Grant { slot, n_reused: n });
        }
        let slot = self.free_slot(source.map(|(slot, _)| slot))?;
        if let Some((from, n)) = source {
            self.effects.push(Effect::Copy { from, to: slot, n });
        }
        self.slots[slot] = Slot {
            state: State::Busy,
            group: wish.group,
            tokens: wish.tokens[..n].to_vec(),
            parent: source,
            reserved: wish.reserve,
        };
        Some(Grant { slot, n_reused: n })
    }

    /// Whether a request that begins with a slot's first `n` tokens may have the slot itself: it is idle, and continues where
    /// it ended or is the only one available.
    fn can_change_hands(&self, slot: usize, n: usize) -> bool {
        let Slot { state, tokens, .. } = &self.slots[slot];
        let is_idle = matches!(state, State::Idle { .. }) && self.n_needed(slot, None) <= n;
        is_idle && (tokens.len() == n || !self.has_free_slot(slot))
    }

    /// Promises a busy slot `reserve` cells in all; `false` leaves it as it was.
    pub fn extend(&mut self, slot: usize, reserve: usize) -> bool {
        let more = reserve.saturating_sub(self.slots[slot].reserved);
        if !self.make_room(more, None) {
            return false;
        }
        self.slots[slot].reserved = self.slots[slot].reserved.max(reserve);
        true
    }

    /// Notes tokens that were evaluated in a busy slot.
    pub fn grow(&mut self, slot: usize, tokens: &[Token]) {
        self.slots[slot].tokens.extend_from_slice(tokens);
    }

    /// Removes what was evaluated after the recorded tokens: the rejected end of a draft.
    pub fn trim(&mut self, slot: usize) {
        self.effects.push(Effect::Truncate { slot, from: self.slots[slot].tokens.len() });
    }

    /// Lets a branch's sequence, which is not one of the slots, begin with the slot's first `n` tokens.
    pub fn copy_to_branch(&mut self, slot: usize, branch: usize, n: usize) {
        self.effects.push(Effect::Copy { from: slot, to: branch, n });
    }

    /// Ends a request; what it evaluated stays for others where that can be.
    pub fn release(&mut self, slot: usize) {
        self.clock += 1;
        self.slots[slot].reserved = 0;
        self.slots[slot].state = State::Idle { last_used: self.clock };
        if self.reuse == Reuse::Never || self.slots[slot].tokens.is_empty() {
            self.free(slot);
        }
    }

    /// The most tokens that any slot could give to this wish, and the slot.
    fn longest_match(&self, wish: Wish<'_>, is_whole: &dyn Fn(usize) -> bool) -> Option<(usize, usize)> {
        if self.reuse == Reuse::Never {
            return None;
        }
        let found = self.slots.iter().enumerate().filter(|(_, slot)| slot.group == wish.group);
        let found = found.map(|(index, slot)| (index, common(&slot.tokens, wish.tokens).min(wish.max_reused)));
        let mut found: Vec<(usize, usize)> = found.filter(|&(_, n)| n > 0).collect();
        // Of equally long ones the slot that can change hands.
        found.sort_by_key(|&(index, n)| (std::cmp::Reverse(n), self.slots[index].tokens.len()));
        found.into_iter().find(|&(index, _)| is_whole(index))
    }

    /// Lets idle slots go, the longest unused first, until `n` more cells are free. `pinned` keeps its first tokens.
    fn make_room(&mut self, n: usize, pinned: Option<(usize, usize)>) -> bool {
        while self.n_used() + n > self.n_cells {
            // A slot that is not shared is evicted even if it has no cells of its own, so that its parent can be evicted next.
            let goes = |slots: &Self, slot| slots.spare(slot, pinned) > 0 || slots.n_needed(slot, pinned) == 0;
            let Some(slot) = self.oldest_idle(goes) else { return false };
            let keep = self.n_needed(slot, pinned);
            if keep == 0 {
                self.free(slot);
            } else {
                self.keep(slot, keep);
            }
        }
        true
    }

    /// Lets an idle slot keep its first `n` tokens only.
    fn keep(&mut self, slot: usize, n: usize) {
        let Slot { tokens, parent, .. } = &mut self.slots[slot];
        if tokens.len() == n {
            return;
        }
        tokens.truncate(n);
        if let Some((_, shared)) = parent {
            *shared = n.min(*shared);
        }
        self.effects.push(Effect::Truncate { slot, from: n });
    }

    fn has_free_slot(&self, pinned: usize) -> bool {
        self.slots.iter().any(|slot| slot.state == State::Free) || self.childless_idle(Some(pinned)).is_some()
    }

    fn free_slot(&mut self, pinned: Option<usize>) -> Option<usize> {
        if let Some(slot) = self.slots.iter().position(|slot| slot.state == State::Free) {
            return Some(slot);
        }
        let slot = self.childless_idle(pinned)?;
        self.free(slot);
        Some(slot)
    }

    fn childless_idle(&self, pinned: Option<usize>) -> Option<usize> {
        self.oldest_idle(|slots, slot| Some(slot) != pinned && slots.n_needed(slot, None) == 0)
    }

    fn oldest_idle(&self, wanted: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let idle = self.slots.iter().enumerate().filter_map(|(index, slot)| match slot.state {
            State::Idle { last_used } if wanted(self, index) => Some((last_used, index)),
            _ => None,
        });
        idle.min().map(|(_, index)| index)
    }

    /// The tokens of an idle slot that others share or are about to.
    fn n_needed(&self, slot: usize, pinned: Option<(usize, usize)>) -> usize {
        let shares = self.slots.iter().filter_map(|child| child.parent);
        shares.chain(pinned).filter(|&(parent, _)| parent == slot).map(|(_, n)| n).max().unwrap_or(0)
    }

    /// Cells that letting an idle slot go would free.
    fn spare(&self, slot: usize, pinned: Option<(usize, usize)>) -> usize {
        let shared = self.slots[slot].parent.map_or(0, |(_, n)| n);
        self.slots[slot].tokens.len().saturating_sub(self.n_needed(slot, pinned).max(shared))
    }

    fn free(&mut self, slot: usize) {
        let Slot { state, tokens, parent, reserved, .. } = &mut self.slots[slot];
        *state = State::Free;
        *parent = None;
        *reserved = 0;
        tokens.clear();
        self.effects.push(Effect::Truncate { slot, from: 0 });
    }

    /// Cells in use or promised; shared ones counted once.
    #[must_use]
    pub fn n_used(&self) -> usize {
        let cells = |slot: &Slot| {
            let shared = slot.parent.map_or(0, |(_, n)| n);
            slot.tokens.len().max(slot.reserved) - shared
        };
        self.slots.iter().filter(|slot| slot.state != State::Free).map(cells).sum()
    }
}

/// Tokens that two sequences begin with in common.
#[must_use]
pub fn common(a: &[Token], b: &[Token]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &dyn Fn(usize) -> bool = &|_| true;

    fn wish(tokens: &[Token], reserve: usize) -> Wish<'_> {
        Wish { group: 0, tokens, max_reused: tokens.len() - 1, reserve }
    }

    #[test]
    fn a_prefix_is_shared_and_counted_once() {
        let mut slots = Slots::new(4, 20, Reuse::Prefix);
        let a = slots.acquire(wish(&[1, 2, 3, 4], 6), ALL).unwrap();
        slots.grow(a.slot, &[1, 2, 3, 4]);
        let b = slots.acquire(wish(&[1, 2, 3, 9], 6), ALL).unwrap();
        assert_eq!((b.n_reused, slots.n_used()), (3, 9));
        assert_eq!(slots.take_effects(), [Effect::Copy { from: a.slot, to: b.slot, n: 3 }]);
        slots.release(a.slot);
        assert_eq!(slots.n_used(), 4 + 3);
    }

    #[test]
    fn the_longest_unused_goes_first_and_a_parent_keeps_what_is_shared() {
        let mut slots = Slots::new(4, 10, Reuse::Prefix);
        let a = slots.acquire(wish(&[1, 2, 3, 4, 5, 6], 6), ALL).unwrap();
        slots.grow(a.slot, &[1, 2, 3, 4, 5, 6]);
        slots.release(a.slot);
        let b = slots.acquire(wish(&[1, 2, 7], 4), ALL).unwrap();
        assert_eq!((b.n_reused, slots.n_used()), (2, 8));
        let c = slots.acquire(wish(&[8, 9], 6), ALL).unwrap();
        assert_eq!((c.n_reused, slots.n_used()), (0, 10));
        let effects = slots.take_effects();
        assert!(effects.contains(&Effect::Truncate { slot: a.slot, from: 2 }), "{effects:?}");
        assert_eq!(slots.acquire(wish(&[5], 1), ALL), None);
    }

    #[test]
    fn a_conversation_goes_on_in_its_own_slot() {
        let mut slots = Slots::new(2, 10, Reuse::Prefix);
        let a = slots.acquire(wish(&[1, 2], 4), ALL).unwrap();
        slots.grow(a.slot, &[1, 2]);
        slots.release(a.slot);
        assert_eq!(slots.acquire(wish(&[1, 2, 3], 6), ALL), Some(Grant { slot: a.slot, n_reused: 2 }));
        assert_eq!(slots.take_effects(), []);
    }

    #[test]
    fn what_slid_away_or_belongs_to_other_adapters_is_evaluated_again() {
        let mut slots = Slots::new(3, 20, Reuse::Prefix);
        let a = slots.acquire(wish(&[1, 2, 3], 3), ALL).unwrap();
        slots.grow(a.slot, &[1, 2, 3]);
        assert_eq!(slots.acquire(wish(&[1, 2, 4], 3), &|_| false).unwrap().n_reused, 0);
        assert_eq!(slots.acquire(Wish { group: 1, ..wish(&[1, 2, 4], 3) }, ALL).unwrap().n_reused, 0);
    }
}
