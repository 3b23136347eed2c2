//! A clock for grammars: what following one costs is bounded in time too, where steps are a poor measure of it.
//!
//! One thread watches all constraints of the process. It sleeps while no grammar is at work.

use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use llguidance::CancellationHandle;

/// How often alarms are looked at while there are any: what is past is noticed so much later at most.
const TICK: Duration = Duration::from_millis(50);

static WATCH: LazyLock<&'static Watch> = LazyLock::new(|| {
    let watch: &'static Watch = Box::leak(Box::default());
    // Without the thread no alarm ever rings: steps and sizes still bound what a grammar costs.
    let _ = std::thread::Builder::new().name("grammar-clock".to_owned()).spawn(|| watch.run());
    watch
});

#[derive(Default)]
struct Watch {
    alarms: Mutex<Alarms>,
    set: Condvar,
}

#[derive(Default)]
struct Alarms {
    next: u64,
    pending: Vec<(u64, Instant, CancellationHandle)>,
    is_asleep: bool,
}

/// Cancels the work of a constraint when its time is over; dropped before, it does nothing.
#[must_use]
pub(super) struct Alarm(u64);

impl Alarm {
    /// Rings after a time.
    pub fn after(time: Duration, handle: CancellationHandle) -> Self {
        let watch = *WATCH;
        let mut alarms = watch.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        let id = alarms.next;
        alarms.next += 1;
        alarms.pending.push((id, Instant::now() + time, handle));
        if alarms.is_asleep {
            alarms.is_asleep = false;
            watch.set.notify_one();
        }
        Alarm(id)
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut alarms = WATCH.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        alarms.pending.retain(|(id, ..)| *id != self.0);
    }
}

impl Watch {
    fn run(&self) {
        let mut alarms = self.alarms.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            alarms = if alarms.pending.is_empty() {
                alarms.is_asleep = true;
                self.set.wait(alarms).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.set.wait_timeout(alarms, TICK).map_or_else(|error| error.into_inner().0, |(alarms, _)| alarms)
            };
            let now = Instant::now();
            for (_, until, handle) in &alarms.pending {
                if *until <= now {
                    handle.cancel();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_rings_unless_it_is_dropped() {
        let (dropped, rung) = (CancellationHandle::default(), CancellationHandle::default());
        drop(Alarm::after(Duration::from_millis(1), dropped.clone()));
        let alarm = Alarm::after(Duration::from_millis(1), rung.clone());
        let started = Instant::now();
        while !rung.is_cancelled() && started.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(alarm);
        assert!(rung.is_cancelled() && !dropped.is_cancelled());
    }
}
