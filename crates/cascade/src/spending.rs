//! What a cascade has cost so far, and whether one more text may reach a second tier. Pure: days and amounts are given.

use crate::cascade::Budget;
use crate::path::Reason;

/// Texts in a row that may go on beyond the share.
pub const SHARE_BURST: f64 = 10.0;

/// What a cascade has cost, and how many of its texts went on.
#[derive(Debug, Clone, PartialEq)]
pub struct Spending {
    /// The day of which the money is, counted from any day.
    day: i64,
    spent: f64,
    /// Texts that may go on; each text that comes adds its share.
    allowance: f64,
    /// What texts have added that nobody else was told of.
    untold: f64,
}

impl Default for Spending {
    fn default() -> Self {
        Spending { day: i64::MIN, spent: 0.0, allowance: SHARE_BURST, untold: 0.0 }
    }
}

impl Spending {
    /// A text has come.
    pub fn text_came(&mut self, budget: &Budget) {
        if let Some(share) = budget.share {
            self.allowance = (self.allowance + share).min(SHARE_BURST);
            self.untold = (self.untold + share).min(SHARE_BURST);
        }
    }

    /// What texts have added since this was asked last: for the count of several processes.
    pub fn untold(&mut self) -> f64 {
        std::mem::take(&mut self.untold)
    }

    /// The count of several processes, to which one of them adds so much and of which it takes a text that goes on, and whether
    /// it may.
    #[must_use]
    pub fn taken(allowance: Option<f64>, added: f64) -> (f64, bool) {
        let allowance = (allowance.unwrap_or(SHARE_BURST) + added).clamp(0.0, SHARE_BURST);
        if allowance < 1.0 { (allowance, false) } else { (allowance - 1.0, true) }
    }

    /// Lets a text go on to a second tier, or says why not.
    ///
    /// # Errors
    /// [`Reason::Share`].
    pub fn go_on(&mut self, budget: &Budget) -> Result<(), Reason> {
        let Some(most) = budget.share else { return Ok(()) };
        if self.allowance < 1.0 {
            return Err(Reason::Share { most });
        }
        self.allowance -= 1.0;
        Ok(())
    }

    /// Whether a remote may be asked today.
    ///
    /// # Errors
    /// [`Reason::Money`].
    pub fn may_pay(&mut self, budget: &Budget, day: i64) -> Result<(), Reason> {
        self.is_day(day);
        match budget.dollars_per_day {
            Some(most) if self.spent >= most => Err(Reason::Money { spent: self.spent, most }),
            _ => Ok(()),
        }
    }

    /// An answer has cost so much.
    pub fn paid(&mut self, day: i64, amount: f64) {
        self.is_day(day);
        self.spent += amount.max(0.0);
    }

    /// What today has cost.
    #[must_use]
    pub fn today(&self, day: i64) -> f64 {
        if self.day == day { self.spent } else { 0.0 }
    }

    /// What other processes say that this day has cost, where that is more than is known here.
    pub fn known(&mut self, day: i64, amount: f64) {
        self.is_day(day);
        self.spent = self.spent.max(amount);
    }

    fn is_day(&mut self, day: i64) {
        if self.day != day {
            (self.day, self.spent) = (day, 0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_days_money_is_that_days() {
        let budget = Budget { dollars_per_day: Some(1.0), ..Budget::default() };
        let mut spending = Spending::default();
        assert_eq!(spending.may_pay(&budget, 7), Ok(()));
        spending.paid(7, 0.7);
        spending.paid(7, 0.4);
        assert!(matches!(spending.may_pay(&budget, 7), Err(Reason::Money { most: 1.0, .. })));
        assert_eq!((spending.may_pay(&budget, 8), spending.today(8)), (Ok(()), 0.0));
        assert_eq!(spending.may_pay(&Budget::default(), 7), Ok(()));
    }

    proptest! {
        /// No more than the share goes on, but for a burst; and where texts go on as they may, no less than that.
        #[test]
        fn the_share_is_kept(wanted in prop::collection::vec(any::<bool>(), 1..400), share in 0.0f64..1.0) {
            let budget = Budget { share: Some(share), ..Budget::default() };
            let (mut spending, mut n_on, mut n) = (Spending::default(), 0.0, 0.0);
            let (mut count, mut n_counted) = (None, 0.0);
            for wants in wanted {
                spending.text_came(&budget);
                n += 1.0;
                if wants && spending.go_on(&budget).is_ok() {
                    n_on += 1.0;
                }
                prop_assert!(n_on <= share * n + SHARE_BURST + 1e-6);
                if wants {
                    let (allowance, may) = Spending::taken(count, spending.untold());
                    (count, n_counted) = (Some(allowance), n_counted + f64::from(u8::from(may)));
                }
                prop_assert!(n_counted <= share * n + SHARE_BURST + 1e-6);
            }
            let mut all = Spending::default();
            let n_all = (0..1000).filter(|_| { all.text_came(&budget); all.go_on(&budget).is_ok() }).count();
            prop_assert!(n_all as f64 >= share * 1000.0 - 1.0, "{n_all} at {share}");
        }
    }
}
