//! Downloads that are interrupted, wrong, or led astray.

use super::*;
use slm_values::manifest::media_type;

fn ours(store: &Store, wanted: DownloadKey, n_bytes: u64) -> Download {
    match store.download(wanted, n_bytes).unwrap() {
        Begun::Ours(download) => download,
        Begun::Busy => panic!("nobody else is here"),
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("models"));
    (folder, store)
}

fn hashed(download: &Download) -> Digest {
    let mut hasher = Hasher::new();
    download.reader().unwrap().hash(0..download.n_bytes(), &mut hasher, &mut [0; 1000]).unwrap();
    hasher.finish()
}

#[test]
fn is_taken_up_where_it_was_left() {
    let (_folder, store) = store();
    let bytes: Vec<u8> = (0..PART_BYTES + 100).map(|n| n as u8).collect();
    let wanted = DownloadKey::Digest(Digest::of(&bytes));
    let n_bytes = bytes.len() as u64;
    let mut download = ours(&store, wanted, n_bytes);
    download.write(PART_BYTES, &bytes[PART_BYTES as usize..][..40]).unwrap();
    download.write(0, &bytes[..10]).unwrap();
    assert!(matches!(store.download(wanted, n_bytes).unwrap(), Begun::Busy));
    drop(download);

    assert_eq!(store.downloaded_bytes(wanted, n_bytes), 50);
    let mut download = ours(&store, wanted, n_bytes);
    assert_eq!(download.missing(), [10..PART_BYTES, PART_BYTES + 40..n_bytes]);
    assert_eq!(download.frontier(), 10);
    for range in download.missing() {
        download.write(range.start, &bytes[range.start as usize..range.end as usize]).unwrap();
    }
    let found = hashed(&download);
    assert_eq!(store.finish_download(download, found, "text/plain").unwrap(), Digest::of(&bytes));
    assert_eq!(fs::read(store.blob_path(&found)).unwrap(), bytes);
    assert_eq!(fs::read_dir(store.downloads()).unwrap().count(), 0);
}

#[test]
fn other_bytes_never_become_a_blob() {
    let (_folder, store) = store();
    let wanted = DownloadKey::Digest(Digest::of(b"right"));
    let mut download = ours(&store, wanted, 5);
    download.write(0, b"wrong").unwrap();
    let found = hashed(&download);
    let error = store.finish_download(download, found, "text/plain").unwrap_err();
    assert!(matches!(error, StoreError::OtherBytes { .. }), "{error}");
    assert_eq!(ours(&store, wanted, 5).done_bytes(), 0);
    assert!(!store.blob_path(&Digest::of(b"right")).exists());
}

#[cfg(unix)]
#[test]
fn a_link_in_a_downloads_place_leads_no_byte_out_of_the_store() {
    let (folder, store) = store();
    let outside = folder.path().join("precious");
    fs::write(&outside, b"mine").unwrap();
    let wanted = DownloadKey::Digest(Digest::of(b"right"));
    fs::create_dir_all(store.downloads()).unwrap();
    let place = store.downloads().join(file_name(wanted));
    std::os::unix::fs::symlink(&outside, &place).unwrap();
    std::os::unix::fs::symlink(&outside, with_suffix(&place)).unwrap();
    let mut download = ours(&store, wanted, 5);
    download.write(0, b"right").unwrap();
    let found = hashed(&download);
    store.finish_download(download, found, "text/plain").unwrap();
    assert!(fs::symlink_metadata(store.blob_path(&found)).unwrap().is_file());
    assert_eq!(fs::read(&outside).unwrap(), b"mine");
}

#[test]
fn a_page_never_becomes_weights() {
    let (_folder, store) = store();
    let wanted = DownloadKey::Source(Digest::of(b"address"));
    let mut download = ours(&store, wanted, 6);
    download.write(0, b"<html>").unwrap();
    let found = hashed(&download);
    let error = store.finish_download(download, found, media_type::MODEL).unwrap_err().to_string();
    assert!(error.contains("begins with `<htm`"), "{error}");
    assert_eq!(fs::read_dir(store.downloads()).unwrap().count(), 0);
    assert!(!store.blob_path(&found).exists());
}

#[test]
fn a_download_of_another_size_begins_anew() {
    let (_folder, store) = store();
    let wanted = DownloadKey::Source(Digest::of(b"address"));
    ours(&store, wanted, 9).write(0, b"123").unwrap();
    assert_eq!(ours(&store, wanted, 8).done_bytes(), 0);
}
