//! How many threads compute: one for each core that this process is granted, from what the system's files say. It reads none.

use std::collections::BTreeSet;

/// The most processors that a list is believed to name.
const MOST: u32 = 1 << 14;

/// Threads for a process that may use so many processors at once (its affinity and its group's quota) and runs on these cores.
/// Hyperthreads share the units that matter here, so two of one core get one thread; a quota counts time, on whichever core.
#[must_use]
pub fn count(granted: usize, n_cores: Option<usize>) -> u32 {
    u32::try_from(n_cores.map_or(granted, |n_cores| granted.min(n_cores))).unwrap_or(u32::MAX).max(1)
}

/// The cores after the processors that `/proc/self/status` allows. `siblings` gives a processor's file of the processors on its core;
/// one without such a file is a core by itself. `None` where the status names no processors.
pub fn cores(status: &str, siblings: impl Fn(u32) -> Option<String>) -> Option<usize> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let core =
        |processor: u32| siblings(processor).map_or_else(|| processor.to_string(), |list| list.trim().to_owned());
    let cores: BTreeSet<String> = processors(list)?.into_iter().map(core).collect();
    (!cores.is_empty()).then_some(cores.len())
}

/// How many processors `/proc/self/status` allows; `None` where it names none.
#[must_use]
pub fn allowed(status: &str) -> Option<usize> {
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    processors(list).map(|list| list.len())
}

/// The numbers in a list as the kernel writes it: `0-3,8`.
fn processors(list: &str) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last >= MOST {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(list: &str) -> String {
        format!("Name:\tslm\nCpus_allowed:\tff\nCpus_allowed_list:\t{list}\nMems_allowed_list:\t0\n")
    }

    /// Four cores of two hyperthreads, numbered as Linux does on most machines: 0 and 4 are one core.
    fn hyperthreads(processor: u32) -> Option<String> {
        Some(format!("{},{}\n", processor % 4, processor % 4 + 4))
    }

    #[test]
    fn threads_are_the_cores_that_are_granted() {
        let with = |granted, list: &str| count(granted, cores(&status(list), hyperthreads));
        // The whole machine; one core's two hyperthreads; two cores' first ones.
        assert_eq!([with(8, "0-7"), with(2, "0,4"), with(2, "0-1")], [4, 1, 2]);
        // A quota of three processors' time is three threads, each on a core of its own; one of one is one.
        assert_eq!([with(3, "0-7"), with(1, "0-7"), with(6, "0-7")], [3, 1, 4]);
        let plain = |granted, list: &str| count(granted, cores(&status(list), |_| None));
        assert_eq!([plain(8, "0-7"), plain(3, "1,5,7"), plain(2, "0-7")], [8, 3, 2]);
    }

    #[test]
    fn files_that_say_nothing_leave_what_is_granted() {
        for status in ["", "Cpus_allowed_list:", "Cpus_allowed_list:\t0-x", "Cpus_allowed_list:\t0-4294967295", "\0"] {
            assert_eq!(cores(status, hyperthreads), None, "{status}");
        }
        assert_eq!([count(6, None), count(0, None), count(0, Some(0))], [6, 1, 1]);
        assert_eq!(cores(&status("7-3"), hyperthreads), None);
        assert_eq!([allowed(&status("0-3,8")), allowed("")], [Some(5), None]);
    }
}
