//! The most memory that a process had at once while a subject was asked, as Linux counts it; elsewhere nobody tells.

use std::fs;

/// Since when memory is looked at.
pub struct Peak {
    /// Whether what this process needed before is forgotten, so that its peak is the subject's own.
    is_own: bool,
}

impl Peak {
    /// Forgets the peak that this process has had so far, where the system lets it.
    pub fn begin() -> Peak {
        // See proc_pid_clear_refs(5): 5 resets the peak of the resident set.
        Peak { is_own: fs::write("/proc/self/clear_refs", "5").is_ok() }
    }

    /// The peak in bytes of the process that computes: this one, or with a `pid` a server's engine, of which it is the peak since
    /// it was started. `None` where it is not known.
    pub fn of(&self, pid: Option<u32>) -> Option<u64> {
        match pid {
            Some(pid) => resident(&format!("/proc/{pid}/status")),
            None if self.is_own => resident("/proc/self/status"),
            None => None,
        }
    }
}

fn resident(status: &str) -> Option<u64> {
    let status = fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::Peak;

    #[test]
    fn what_was_needed_before_is_forgotten() {
        const SIZE: usize = 256 << 20;
        let much = std::hint::black_box(vec![1_u8; SIZE]);
        let with = Peak { is_own: true }.of(None).expect("Linux tells");
        assert!(with >= SIZE as u64, "{with}");
        drop(much);
        let peak = Peak::begin();
        if peak.is_own {
            let without = peak.of(None).expect("Linux tells");
            // Other tests run beside this one, and need little.
            assert!(without + (SIZE as u64) / 2 < with, "{without} of {with}");
        }
        assert_eq!(peak.of(Some(u32::MAX)), None);
    }
}
