//! Whether a model and its context fit into memory, and the sentence that says so with the numbers. What it counts is
//! never more than is really taken; what it cannot count, llama.cpp finds out by a failed allocation.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::compute::{Compute, KvType};
use slm_values::gguf::Footprint;

/// Graphs, lists of cells, threads' stacks and the like beside a context, at least.
const BUFFERS: u64 = 64 << 20;

/// Memory that is about to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Bytes of weights that are not there yet.
    pub weights: u64,
    /// Bytes of the context's keys and values.
    pub cells: u64,
    pub n_ctx: u32,
    pub kv_type: KvType,
    /// Bytes that are set aside for computing, and only touched where they are needed: an address space must have them.
    pub buffers: u64,
}

/// Memory that is available, and what limits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    pub bytes: u64,
    pub limit: Limit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// What the machine has left.
    Machine,
    /// A control group: a container, a service.
    Group,
    /// `ulimit -v`.
    AddressSpace,
}

/// A need that is larger than the room for it, or that could not be met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    pub need: Need,
    pub room: Room,
    /// llama.cpp's message, if the allocation was tried.
    pub reason: Option<String>,
}

/// Something that makes a need smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saving {
    /// A smaller context.
    FewerTokens,
    /// Keys and values in fewer bits.
    SmallerCells,
    /// Fewer tokens of a decode that are computed at once.
    FewerAtOnce,
    /// The same weights in fewer bits.
    SmallerWeights,
}

impl Need {
    /// What loading a model with one context takes at least on the processor.
    #[must_use]
    pub fn of_model(footprint: &Footprint, n_ctx: u32, compute: &Compute) -> Need {
        let n_ubatch = compute.batches().1;
        Need { weights: footprint.weights, ..Need::of_context(footprint, n_ctx, compute.kv_type, n_ubatch) }
    }

    /// What one more context of a loaded model takes at least.
    #[must_use]
    pub fn of_context(footprint: &Footprint, n_ctx: u32, kv_type: KvType, n_ubatch: u32) -> Need {
        let cells = cell_bytes(footprint, kv_type).saturating_mul(u64::from(n_ctx));
        // llama.cpp reserves a row of logits for every token that is computed at once.
        let buffers = footprint.n_vocab * 4 * u64::from(n_ubatch) + BUFFERS;
        Need { weights: 0, cells, n_ctx, kv_type, buffers }
    }

    fn bytes(&self, limit: Limit) -> u64 {
        let buffers = if limit == Limit::AddressSpace { self.buffers } else { 0 };
        self.weights.saturating_add(self.cells).saturating_add(buffers)
    }

    /// # Errors
    /// There is not that much memory.
    pub fn check(&self, rooms: &[Room]) -> Result<(), Box<Shortage>> {
        match self.tightest(rooms) {
            Some(room) if room.bytes < self.bytes(room.limit) => {
                Err(Box::new(Shortage { need: *self, room, reason: None }))
            }
            _ => Ok(()),
        }
    }

    /// The room that leaves least after this need.
    #[must_use]
    pub fn tightest(&self, rooms: &[Room]) -> Option<Room> {
        let left = |room: &&Room| i128::from(room.bytes) - i128::from(self.bytes(room.limit));
        rooms.iter().min_by_key(left).copied()
    }
}

impl Shortage {
    /// What would make the need smaller, by what is needed most of.
    #[must_use]
    pub fn savings(&self) -> Vec<Saving> {
        let Need { weights, cells, n_ctx, kv_type, buffers } = self.need;
        let mut savings = Vec::new();
        if cells > 0 && n_ctx > 512 {
            savings.push(Saving::FewerTokens);
        }
        if cells > 0 && !kv_type.is_quantized() {
            savings.push(Saving::SmallerCells);
        }
        if self.room.limit == Limit::AddressSpace && buffers > cells.max(2 * BUFFERS) {
            savings.push(Saving::FewerAtOnce);
        }
        if weights > 0 {
            savings.push(Saving::SmallerWeights);
        }
        savings
    }
}

/// Bytes that one token's keys and values take.
#[must_use]
pub fn cell_bytes(footprint: &Footprint, kv_type: KvType) -> u64 {
    kv_type.bytes(footprint.keys).saturating_add(kv_type.bytes(footprint.values))
}

/// Layers of a model that fit into devices of `free` bytes each, the output as one of them; keys and values lie with
/// their layers, and a tenth and 512 MB of each device stay free for buffers.
#[must_use]
pub fn layers_that_fit(footprint: &Footprint, n_ctx: u32, kv_type: KvType, free: &[u64]) -> u32 {
    let n_layers = footprint.n_layers + 1;
    let cells = cell_bytes(footprint, kv_type).saturating_mul(u64::from(n_ctx));
    let layer = (footprint.weights.saturating_add(cells) / n_layers).max(1);
    let fit = |free: u64| (free - free / 10).saturating_sub(512 << 20) / layer;
    u32::try_from(free.iter().map(|&free| fit(free)).sum::<u64>().min(n_layers)).unwrap_or(u32::MAX)
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Need { weights, cells, n_ctx, kv_type, buffers } = self.need;
        let mut parts = vec![format!("{} of KV cache ({n_ctx} tokens in {kv_type})", size(cells))];
        if weights > 0 {
            parts.insert(0, format!("{} of weights", size(weights)));
        }
        if self.room.limit == Limit::AddressSpace {
            parts.push(format!("{} of buffers", size(buffers)));
        }
        let last = parts.pop().expect("keys and values are always there");
        let first = if parts.is_empty() { String::new() } else { format!("{} and ", parts.join(", ")) };
        write!(f, "out of memory: {first}{last} are needed, {} ", size(self.room.bytes))?;
        f.write_str(match self.room.limit {
            Limit::Machine => "of memory are free",
            Limit::Group => "are left of this control group's memory",
            Limit::AddressSpace => "are left of the address space (`ulimit -v`)",
        })?;
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        Ok(())
    }
}

/// Bytes as people read them, in powers of 1000.
#[must_use]
pub fn size(n_bytes: u64) -> String {
    let n = n_bytes as f64;
    match n {
        1e9.. => format!("{:.1} GB", n / 1e9),
        _ => format!("{:.1} MB", n / 1e6),
    }
}

/// The memory that this process can have now, by everything that limits it; empty where the system does not say.
#[cfg(target_os = "linux")]
#[must_use]
pub fn rooms() -> Vec<Room> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| kilobytes(&text, "MemAvailable:"));
    let machine = machine.map(|bytes| Room { bytes, limit: Limit::Machine });
    let used = read("/proc/self/status").and_then(|text| kilobytes(&text, "VmSize:"));
    let limit = rustix::process::getrlimit(rustix::process::Resource::As).current;
    let space =
        limit.zip(used).map(|(limit, used)| Room { bytes: limit.saturating_sub(used), limit: Limit::AddressSpace });
    let group = read("/proc/self/cgroup").and_then(|text| group_room(&text, Droppable::Unused, &read));
    let group = group.map(|bytes| Room { bytes, limit: Limit::Group });
    [machine, space, group].into_iter().flatten().collect()
}

#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn rooms() -> Vec<Room> {
    Vec::new()
}

/// The most memory that this process has had at once, in bytes; `None` where the system does not say.
#[must_use]
pub fn peak() -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The memory that a process of this user takes now, in bytes; of what it shares with others, its share. `None` where the
/// system does not say, or there is no such process.
#[must_use]
pub fn of_process(pid: u32) -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let shares = read("smaps_rollup").and_then(|text| kilobytes(&text, "Pss:"));
    shares.or_else(|| kilobytes(&read("status")?, "VmRSS:"))
}

/// Bytes that stay taken until this process ends: its own memory, and what it has locked. What it has only mapped
/// from files counts as available. `None` where the system does not say, or there is no such process.
#[must_use]
pub fn own_of_process(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let of = |name| kilobytes(&status, name);
    let own = of("RssAnon:")?.saturating_add(of("RssShmem:").unwrap_or(0));
    Some(own.max(of("VmLck:").unwrap_or(0)))
}

/// Bytes that processes can have if all is dropped that is only kept of files, the mapped weights of engines included:
/// a caller that wants to keep those subtracts them. `None` where the system does not say.
#[must_use]
pub fn available() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| kilobytes(&text, "MemAvailable:"));
    let group = read("/proc/self/cgroup").and_then(|text| group_room(&text, Droppable::Files, &read));
    // The limit of an address space is each process's own.
    machine.into_iter().chain(group).min()
}

/// A line `Name:  123 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Which of the pages that are kept of files count as free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Droppable {
    Unused,
    Files,
}

/// What is left in the tightest of the control groups that hold this process (`/proc/self/cgroup`): the limit less what
/// is used and cannot be dropped. Version 2 of the interface, and the memory part of version 1.
fn group_room(groups: &str, droppable: Droppable, read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let number = |path: &str| read(path)?.trim().parse::<u64>().ok();
    let left = |folder: &str, limit: &str, usage: &str, total: &str| {
        let limit = number(&format!("{folder}/{limit}"))?;
        let used = number(&format!("{folder}/{usage}"))?;
        let stat = read(&format!("{folder}/memory.stat")).unwrap_or_default();
        let of = |name: &str| {
            let number =
                |line: &str| line.strip_prefix(total)?.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok();
            stat.lines().find_map(number).unwrap_or(0)
        };
        let cache = match droppable {
            Droppable::Unused => of("inactive_file"),
            Droppable::Files => of("inactive_file").saturating_add(of("active_file")),
        };
        Some(limit.saturating_sub(used.saturating_sub(cache)))
    };
    let mut rooms = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (root, limit, usage, total) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max", "memory.current", ""),
            names if names.split(',').any(|name| name == "memory") => {
                let names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_");
                ("/sys/fs/cgroup/memory", names.0, names.1, names.2)
            }
            _ => continue,
        };
        // A limit above holds for everything below it; inside a container the path may lie outside of what is mounted.
        let mut path = path.trim_end_matches('/');
        loop {
            rooms.extend(left(&format!("{root}{path}"), limit, usage, total));
            match path.rfind('/') {
                Some(at) => path = &path[..at],
                None => break,
            }
        }
    }
    rooms.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOOTPRINT: Footprint = Footprint {
        weights: 800_000_000,
        n_layers: 16,
        keys: 8192,
        values: 8192,
        n_ctx_train: 0,
        n_vocab: 128_256,
        read: 0,
        multiplied: 0,
        matrix: None,
    };

    fn shortage(need: Need, bytes: u64, limit: Limit) -> (String, Vec<Saving>) {
        let rooms = [Room { bytes: u64::MAX, limit: Limit::Machine }, Room { bytes, limit }];
        let shortage = need.check(&rooms).unwrap_err();
        (shortage.to_string(), shortage.savings())
    }

    #[test]
    fn the_sentence_has_the_numbers_and_the_ways_out() {
        let compute = Compute::default();
        assert_eq!(
            shortage(Need::of_model(&FOOTPRINT, 8192, &compute), 1_000_000_000, Limit::Machine),
            (
                "out of memory: 800.0 MB of weights and 268.4 MB of KV cache (8192 tokens in f16) are needed, 1.0 \
                 GB of memory are free"
                    .to_owned(),
                vec![Saving::FewerTokens, Saving::SmallerCells, Saving::SmallerWeights]
            )
        );
        assert_eq!(
            shortage(Need::of_context(&FOOTPRINT, 8192, KvType::Q8_0, 512), 200_000_000, Limit::AddressSpace),
            (
                "out of memory: 142.6 MB of KV cache (8192 tokens in q8_0) and 329.8 MB of buffers are needed, \
                 200.0 MB are left of the address space (`ulimit -v`)"
                    .to_owned(),
                vec![Saving::FewerTokens, Saving::FewerAtOnce]
            )
        );
        assert!(Need::of_model(&FOOTPRINT, 8192, &compute).check(&[]).is_ok());
    }

    #[test]
    fn layers_fill_the_devices_and_no_more() {
        let fit = |free: &[u64]| layers_that_fit(&FOOTPRINT, 8192, KvType::F16, free);
        // 1068.4 MB in 17 layers; of 1.2 GB, 543 MB are for layers.
        assert_eq!((fit(&[80_000_000_000]), fit(&[1_200_000_000]), fit(&[300_000_000]), fit(&[])), (17, 8, 0, 0));
        assert_eq!(fit(&[1_200_000_000, 1_200_000_000]), 16);
    }

    #[test]
    fn the_tightest_control_group_counts() {
        let files = |path: &str| {
            let text = match path {
                "/sys/fs/cgroup/a/b/memory.max" => "max\n",
                "/sys/fs/cgroup/a/memory.max" => "1000\n",
                "/sys/fs/cgroup/a/memory.current" => "700\n",
                "/sys/fs/cgroup/a/memory.stat" => "anon 600\ninactive_file 90\nactive_file 7\n",
                "/sys/fs/cgroup/memory/c/memory.limit_in_bytes" => "500\n",
                "/sys/fs/cgroup/memory/c/memory.usage_in_bytes" => "150\n",
                "/sys/fs/cgroup/memory/c/memory.stat" => "inactive_file 1\ntotal_inactive_file 20\n",
                _ => return None,
            };
            Some(text.to_owned())
        };
        let room = |groups| group_room(groups, Droppable::Unused, &files);
        assert_eq!(room("0::/a/b\n"), Some(390));
        assert_eq!(room("5:cpu,memory:/c\n4:pids:/d\n0::/\n"), Some(370));
        assert_eq!(room("0::/\n"), None);
        assert_eq!(group_room("0::/a/b\n", Droppable::Files, &files), Some(397));
    }

    #[test]
    fn this_machine_says_what_it_has() {
        let rooms = rooms();
        assert!(!cfg!(target_os = "linux") || rooms.iter().any(|room| room.limit == Limit::Machine && room.bytes > 0));
    }
}
