//! Tells the threads of llama.cpp how long to wait for each other. They are OpenMP's; GNU's runtime, which is linked into the
//! program, keeps the wait in a variable that it looks at before each one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::waiting::{Waiting, Watch};

/// Set where the environment of this process says how to wait.
static IS_SET: AtomicBool = AtomicBool::new(false);
/// The one of this process, as the variable is; engines in one process are a test's.
static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

/// Leaves the wait as the runtime has read it from the environment, for the rest of this process's life.
pub fn leave_waiting_as_set() {
    IS_SET.store(true, Ordering::Relaxed);
}

/// Begins to choose the wait for decodes with so many threads, where there is one to choose.
pub fn begin(n_threads: u32) -> Waiting {
    let waiting = match gomp::turns() {
        _ if n_threads < 2 => Waiting::Unknown,
        None => Waiting::Unknown,
        Some(n_turns) if IS_SET.load(Ordering::Relaxed) => Waiting::Set { n_turns },
        Some(_) => Waiting::Learned,
    };
    if waiting == Waiting::Learned {
        let watch = Watch::new(n_threads);
        gomp::wait(watch.wait());
        *lock() = Some(watch);
    }
    waiting
}

/// Runs a decode, and learns from what it had of the machine.
pub fn watched<T>(decode: impl FnOnce() -> T) -> T {
    let before = gomp::processor_time();
    let started = Instant::now();
    let result = decode();
    let elapsed = started.elapsed();
    if let (Some(watch), Some(before), Some(after)) = (&mut *lock(), before, gomp::processor_time()) {
        let was = watch.wait();
        watch.learn(after.saturating_sub(before), elapsed);
        if watch.wait() != was {
            tracing::debug!(wait = ?watch.wait(), "other work has come or gone");
            gomp::wait(watch.wait());
        }
    }
    result
}

fn lock() -> std::sync::MutexGuard<'static, Option<Watch>> {
    WATCH.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// GNU's runtime of OpenMP, which llama-cpp-sys-2 links into programs for these systems.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
mod gomp {
    use std::arch::global_asm;
    use std::hint::{black_box, spin_loop};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    // The runtime's variable by a weak name: a runtime without it, or one that is linked at run time, leaves null here.
    global_asm!(
        ".weak gomp_spin_count_var",
        ".pushsection .data.rel.slm_gomp_spin_count, \"aw\"",
        ".globl slm_gomp_spin_count",
        ".hidden slm_gomp_spin_count",
        ".p2align 3",
        "slm_gomp_spin_count:",
        ".quad gomp_spin_count_var",
        ".popsection"
    );

    unsafe extern "C" {
        // SAFETY: the eight bytes above, which the linker and the loader set before anything runs.
        safe static slm_gomp_spin_count: AtomicPtr<AtomicU64>;
    }

    /// An `unsigned long long` that the runtime sets before `main`, and only reads from then on.
    fn spin_count() -> Option<&'static AtomicU64> {
        // SAFETY: null, or the address of a variable of the program, which lives as long as it and is never written otherwise.
        unsafe { slm_gomp_spin_count.load(Ordering::Relaxed).as_ref() }
    }

    /// How often a thread looks for the others before it sleeps.
    pub fn turns() -> Option<u64> {
        spin_count().map(|count| count.load(Ordering::Relaxed))
    }

    /// Lets threads wait for about so long.
    pub fn wait(time: Duration) {
        if let Some(count) = spin_count() {
            count.store(turns_in(time), Ordering::Relaxed);
        }
    }

    /// The turns that take about so long.
    pub fn turns_in(time: Duration) -> u64 {
        let n_turns = time.as_nanos() * u128::from(TURNS) / turns_take().as_nanos().max(1);
        u64::try_from(n_turns).unwrap_or(u64::MAX).max(1)
    }

    /// Turns that are timed at once: some microseconds.
    const TURNS: u32 = 256;

    /// How long they take on this machine: a turn is a look and the processor's pause, of 10 to 140 cycles. The least of some,
    /// because other work may come between.
    fn turns_take() -> Duration {
        static TAKE: OnceLock<Duration> = OnceLock::new();
        *TAKE.get_or_init(|| {
            let timed = || {
                let started = Instant::now();
                for _ in 0..TURNS {
                    black_box(spin_count().map(|count| count.load(Ordering::Relaxed)));
                    spin_loop();
                }
                started.elapsed()
            };
            (0..8).map(|_| timed()).min().unwrap_or_default()
        })
    }

    /// The processors' time that this process has had.
    pub fn processor_time() -> Option<Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: it writes to the structure that it is given.
        let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
        let (seconds, nanoseconds) = (u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?);
        (status == 0).then(|| Duration::new(seconds, nanoseconds))
    }
}

/// Other systems' threads wait as ggml lets them.
#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64")))]
mod gomp {
    use std::time::Duration;

    pub fn turns() -> Option<u64> {
        None
    }

    pub fn wait(_: Duration) {}

    pub fn processor_time() -> Option<Duration> {
        None
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
mod tests {
    use std::time::Duration;

    use super::gomp;

    #[test]
    fn a_time_becomes_turns_of_this_machine() {
        let [short, long] = [1, 100].map(|micros| gomp::turns_in(Duration::from_micros(micros)));
        assert!(short >= 1 && (100..1_000_000).contains(&long), "{short} {long}");
        assert!((90..=110 * short).contains(&long), "{short} {long}");
        assert_eq!(gomp::turns_in(Duration::ZERO), 1);
    }

    #[test]
    fn a_process_has_the_time_that_it_uses() {
        let before = gomp::processor_time().unwrap();
        let mut sum = 0u64;
        while gomp::processor_time().unwrap() - before < Duration::from_millis(5) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(sum > 0);
    }
}
