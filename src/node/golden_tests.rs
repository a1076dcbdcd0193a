//! Expected texts in `cases/`. After a change that is meant, run the tests with `VXMESH_BLESS=1` and read the difference.

use std::path::Path;

/// Compares `text` with the file `cases/<name>`.
pub(super) fn check(name: &str, text: &str) {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/node/cases")).join(name);
    if std::env::var_os("VXMESH_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    assert!(text == expected, "{} differs; this is what came out:\n{text}", path.display());
}
