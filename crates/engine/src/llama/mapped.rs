//! The pages of weight files that are mapped into memory: handed back to the kernel while tensors are copied out of them, or
//! weights that are repacked would be in memory twice. What is still needed from them is read again from the page cache.

use std::fs::Metadata;
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Held while a model loads. Models of one process load one after the other, so that a mapping that was not there before is the
/// load's own, and stays until it ends: nobody else's address may become other memory while its pages are handed back.
static LOADING: Mutex<()> = Mutex::new(());

/// Bytes of weights that are loaded before pages are handed back again.
const STEP_BYTES: f64 = 32e6;

/// A function for llama.cpp's progress, from 0 to 1, while it loads these files. Other loads of this process wait
/// until it is dropped, which must not be before the load ends.
pub fn on_progress<P: AsRef<Path>>(paths: &[P]) -> impl FnMut(f32) -> bool + use<P> {
    let alone = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    let found: Vec<Metadata> = paths.iter().filter_map(|path| std::fs::metadata(path).ok()).collect();
    let n_bytes: u64 = found.iter().map(Metadata::len).sum();
    let files = files(&found);
    let others: Vec<usize> = mappings(&files).into_iter().map(|range| range.start).collect();
    let step = (STEP_BYTES / (n_bytes as f64).max(1.0)) as f32;
    let mut next = 0.0;
    move |progress| {
        let _alone = &alone;
        if progress >= next || progress >= 1.0 {
            release(mappings(&files).into_iter().filter(|range| !others.contains(&range.start)));
            next = progress + step;
        }
        true
    }
}

/// A file by its device and its number there.
type FileId = (u64, u64);

#[cfg(target_os = "linux")]
fn files(found: &[Metadata]) -> Vec<FileId> {
    use std::os::unix::fs::MetadataExt as _;
    found.iter().map(|file| (file.dev(), file.ino())).collect()
}

#[cfg(not(target_os = "linux"))]
fn files(_: &[Metadata]) -> Vec<FileId> {
    Vec::new()
}

/// Where these files are mapped in this process.
fn mappings(files: &[FileId]) -> Vec<Range<usize>> {
    let maps =
        if files.is_empty() { String::new() } else { std::fs::read_to_string("/proc/self/maps").unwrap_or_default() };
    maps.lines().filter_map(|line| shared_mapping(line, files)).collect()
}

/// Hands the pages back. A failure (pages that are locked) leaves them where they are.
#[cfg(target_os = "linux")]
fn release(ranges: impl Iterator<Item = Range<usize>>) {
    for range in ranges {
        // SAFETY: the range is a shared mapping, made by the load that is told its progress and unmapped by nobody before it ends,
        // of a file that nothing in this process writes to: what is read there after this call is read from the file again, and
        // is the same.
        unsafe { libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED) };
    }
}

#[cfg(not(target_os = "linux"))]
fn release(_: impl Iterator<Item = Range<usize>>) {}

/// The addresses of a line of `/proc/PID/maps` (proc_pid_maps(5)), where it is a read-only shared mapping of one of these files.
fn shared_mapping(line: &str, files: &[FileId]) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (addresses, permissions, _offset, device, inode) =
        (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (major, minor) = device.split_once(':')?;
    let (major, minor, inode) = (hex(major)?, hex(minor)?, inode.parse::<u64>().ok()?);
    let is_ours = files.iter().any(|&(device, number)| number == inode && (major, minor) == parts(device));
    if permissions != "r--s" || !is_ours {
        return None;
    }
    let (start, end) = addresses.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

/// The major and the minor number of a device, as Linux packs them (makedev(3)).
fn parts(device: u64) -> (u64, u64) {
    ((device >> 8) & 0xfff | (device >> 32) & 0xffff_f000, device & 0xff | (device >> 12) & 0xffff_ff00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_only_shared_mappings_of_the_file_are_found() {
        let files = [(0xfe01, 77)];
        let line = |permissions: &str, device: &str, inode: &str| {
            format!("7f0000000000-7f0000003000 {permissions} 00000000 {device} {inode}    /models/a model.gguf")
        };
        let found = shared_mapping(&line("r--s", "fe:01", "77"), &files);
        assert_eq!(found, Some(0x7f00_0000_0000..0x7f00_0000_3000));
        for (permissions, device, inode) in
            [("rw-s", "fe:01", "77"), ("r--p", "fe:01", "77"), ("r--s", "fe:02", "77"), ("r--s", "fe:01", "78")]
        {
            assert_eq!(shared_mapping(&line(permissions, device, inode), &files), None);
        }
        assert_eq!(shared_mapping("", &files), None);
        assert_eq!(shared_mapping("7ffe-7fff ---p zz", &files), None);
    }

    /// A read-only shared mapping of a file, which is not unmapped: the process ends soon.
    #[cfg(target_os = "linux")]
    fn mapped(file: &std::fs::File, len: usize) -> &'static [u8] {
        use std::os::fd::AsRawFd as _;
        // SAFETY: a new mapping of a file that stays as it is.
        let map =
            unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        assert_ne!(map, libc::MAP_FAILED);
        // SAFETY: the mapping above, of this length.
        unsafe { std::slice::from_raw_parts(map.cast::<u8>(), len) }
    }

    /// Bytes of a mapping that are in memory.
    #[cfg(target_os = "linux")]
    fn resident(bytes: &[u8]) -> usize {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let entry = smaps.split(&format!("{:x}-", bytes.as_ptr() as usize)).nth(1).unwrap();
        let line = entry.lines().find(|line| line.starts_with("Rss:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn pages_of_the_load_leave_memory_and_are_read_again() {
        use std::io::Write as _;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let len = 8 << 20;
        file.write_all(&vec![7; len]).unwrap();
        let of_another = mapped(file.as_file(), len);
        let mut on_progress = on_progress(&[file.path()]);
        let own = mapped(file.as_file(), len);
        let is_whole = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 7);
        assert!(is_whole(of_another) && is_whole(own));
        assert_eq!((resident(own), resident(of_another)), (len, len));
        assert!(on_progress(0.5));
        assert_eq!((resident(own), resident(of_another)), (0, len));
        assert!(is_whole(of_another) && is_whole(own));
    }
}
