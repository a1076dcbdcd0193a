use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_write_replaces_the_whole_file_and_sets_the_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice.json");
    write(&path, b"a long first content", 0o644).unwrap();
    write(&path, b"second", 0o600).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"second");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(names(folder.path()), ["slice.json"]);
    write(&path, b"", 0o400).unwrap();
    write(&path, b"over a read-only file", 0o400).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"over a read-only file");
}

#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slice.json");
    write(&path, b"old", 0o600).unwrap();
    let error = write_all(&path, 0o600, |file| {
        file.write_all(b"half of the ne")?;
        Err(io::Error::from_raw_os_error(libc::ENOSPC))
    })
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(folder.path()), ["slice.json"]);
}

#[test]
fn a_write_into_a_full_device_says_that_it_is_full() {
    // /dev/full accepts the open and refuses the bytes: the system's own error, not an injected one.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let error =
        write_all(&path, 0o600, |_| OpenOptions::new().write(true).open("/dev/full")?.write_all(b"x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn what_a_crash_left_is_cleaned_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["slice.json", ".hidden", "x.vxmesh-new", ".slice.json.77-0.vxmesh-new"] {
        fs::write(folder.path().join(name), b"x").unwrap();
    }
    assert_eq!(clean(folder.path()).unwrap(), 1);
    assert_eq!(names(folder.path()), [".hidden", "slice.json", "x.vxmesh-new"]);
    assert_eq!(clean(&folder.path().join("absent")).unwrap(), 0);
}

#[test]
fn folders_are_made_with_their_mode_and_open_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("etc/keys");
    ensure_dir(&keys, 0o700).unwrap();
    assert_eq!(mode(&keys), 0o700);
    ensure_dir(&keys, 0o755).unwrap();
    fs::set_permissions(&keys, Permissions::from_mode(0o750)).unwrap();
    let error = ensure_dir(&keys, 0o700).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("chmod 0700"), "{error}");
    fs::write(folder.path().join("file"), b"").unwrap();
    assert!(ensure_dir(&folder.path().join("file"), 0o700).is_err());
}

#[test]
fn an_empty_folder_that_is_open_is_tightened_and_one_that_holds_something_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("vxmesh");
    let open = |bits| fs::set_permissions(&state, Permissions::from_mode(bits)).unwrap();
    take_dir(&state, 0o700).unwrap();
    assert_eq!(mode(&state), 0o700, "it is made");
    open(0o755);
    take_dir(&state, 0o700).unwrap();
    assert_eq!(mode(&state), 0o700);
    // Whoever can write to it may have put something there a moment ago.
    open(0o775);
    assert!(take_dir(&state, 0o700).is_err());
    assert_eq!(mode(&state), 0o775, "it stays as it was");
    open(0o755);
    fs::write(state.join("slice.json"), b"x").unwrap();
    let error = take_dir(&state, 0o700).unwrap_err().to_string();
    assert!(error.contains("chmod 0700"), "{error}");
    assert_eq!(mode(&state), 0o755, "it stays as it was");
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wireguard.key");
    write(&path, b"secret\n", 0o600).unwrap();
    assert_eq!(read_secret(&path).unwrap().as_str(), "secret\n");
    write(&path, b"secret\n", 0o640).unwrap();
    let error = read_secret(&path).unwrap_err().to_string();
    assert!(error.contains("chmod 0600"), "{error}");
    assert!(read_secret(&folder.path().join("absent")).unwrap_err().to_string().contains("absent"));
}
