//! The installation's keys on disk: made once by `init`, checked at each start. See `keys/README.md` for what each one is.

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::api::problem::{Exit, Problem};
use crate::linux::file;
use crate::mgmt::certs::{self, Authority, CertError, Lives, Role};
use crate::types::{Psk, SecretKey, Wall};

/// Files of the keys folder.
const CA_KEY: &str = "ca.key";
pub(super) const CA_CERTIFICATE: &str = "ca.crt";
const SERVER_KEY: &str = "server.key";
const SERVER_CERTIFICATE: &str = "server.crt";
const PSK_SECRET: &str = "psk.key";
/// Folder of the first operator's credential, beside the others: copy it to where `meshctl` runs.
const ADMIN: &str = "admin";
const ADMIN_KEY: &str = "admin.key";
/// What to do where there is none.
const MAKE_ONE: &str = "make an installation first: meshmgr init";
const ADMIN_CERTIFICATE: &str = "admin.crt";
/// Addresses of the server, for `meshctl`.
const MANAGEMENT: &str = "management";

/// The keys that the server runs with.
pub(super) struct Keys {
    /// Signs certificates.
    pub(super) authority: Authority,
    /// PSKs are derived from it.
    pub(super) psk: SecretKey,
    folder: PathBuf,
}

/// The server's own certificate, its CA behind it, and its key; PEM.
pub(super) struct ServerKey {
    /// Certificate, then CA.
    pub(super) chain: String,
    /// Private key.
    pub(super) key: Zeroizing<String>,
    /// When it ends.
    pub(super) ends: Wall,
}

pub(super) fn disk(error: &io::Error) -> Problem {
    let code = if error.kind() == io::ErrorKind::PermissionDenied { "M0605" } else { "M0606" };
    Problem::new(code, Exit::Failed, error.to_string())
}

fn unusable(what: &str, error: &CertError) -> Problem {
    Problem::new("M0607", Exit::Failed, format!("{what}: {error}")).help("restore the keys folder from its backup")
}

/// Makes every key of a new installation, and writes beside the operator's where the server is. What is there already is never written over.
///
/// # Errors
/// [`Problem`] M0608: there is an installation; M0605, M0606: the disk.
pub(super) fn make(folder: &Path, addresses: &[String], lives: Lives, now: Wall) -> Result<(), Problem> {
    refuse_existing(folder)?;
    let random = crate::clock::random::<16>;
    let (authority, ca) = Authority::make(now, random()).map_err(|e| unusable("cannot make a CA", &e))?;
    let authority = authority.with_lives(lives);
    let Ok(name) = "root".parse() else { unreachable!("'root' is a label") };
    let admin = authority.person(&Role::Admin(name), now, random());
    let admin = admin.map_err(|e| unusable("cannot make the admin credential", &e))?;
    let psk = SecretKey::from_bytes(crate::clock::random());
    let bundle = folder.join(ADMIN);
    for path in [folder, &bundle] {
        file::take_dir(path, 0o700).map_err(|e| disk(&e))?;
    }
    let ca_certificate = ca.certificate.as_bytes();
    let write = |path: PathBuf, bytes: &[u8]| file::write(&path, bytes, 0o600).map_err(|e| disk(&e));
    write(bundle.join(ADMIN_KEY), admin.key.as_bytes())?;
    write(bundle.join(ADMIN_CERTIFICATE), admin.certificate.as_bytes())?;
    write(bundle.join(CA_CERTIFICATE), ca_certificate)?;
    write(bundle.join(MANAGEMENT), format!("{}\n", addresses.join("\n")).as_bytes())?;
    write(folder.join(PSK_SECRET), format!("{}\n", psk.to_text().as_str()).as_bytes())?;
    write(folder.join(CA_KEY), ca.key.as_bytes())?;
    // The certificate comes last: with it the installation is there.
    write(folder.join(CA_CERTIFICATE), ca_certificate)?;
    Ok(())
}

/// # Errors
/// [`Problem`] M0608: some key is there.
pub(super) fn refuse_existing(folder: &Path) -> Result<(), Problem> {
    for name in [CA_CERTIFICATE, CA_KEY, PSK_SECRET] {
        let path = folder.join(name);
        match path.try_exists() {
            Ok(false) => {}
            Ok(true) => {
                let what = format!("there is an installation already: {} exists", path.display());
                return Err(Problem::new("M0608", Exit::Conflict, what)
                    .note("nothing was changed")
                    .help("to use it: meshmgr run")
                    .help("to give it up for ever, move that folder and the state folder away first"));
            }
            Err(error) => return Err(disk(&error)),
        }
    }
    Ok(())
}

impl Keys {
    /// Reads the keys; refuses files that others can read, naming the `chmod`.
    ///
    /// # Errors
    /// [`Problem`] M0605: loose modes; M0606: a file is missing; M0607: a file holds something else.
    pub(super) fn load(folder: &Path, lives: Lives) -> Result<Self, Problem> {
        let missing = |error: io::Error| {
            let problem = disk(&error);
            if error.kind() == io::ErrorKind::NotFound { problem.help(MAKE_ONE) } else { problem }
        };
        if !folder.is_dir() {
            return Err(disk(&io::Error::other(format!("there is no folder {}", folder.display()))).help(MAKE_ONE));
        }
        file::ensure_dir(folder, 0o700).map_err(|e| disk(&e))?;
        // It may have been moved to where operators work; while it is here, it is a key like the others.
        let admin = folder.join(ADMIN);
        file::refuse_loose(&admin, 0o700).map_err(|e| disk(&e))?;
        for key in [admin.join(ADMIN_KEY), folder.join(SERVER_KEY)] {
            file::refuse_loose(&key, 0o600).map_err(|e| disk(&e))?;
        }
        let key = file::read_secret(&folder.join(CA_KEY)).map_err(missing)?;
        let certificate = file::read(&folder.join(CA_CERTIFICATE)).map_err(missing)?;
        let certificate = String::from_utf8_lossy(&certificate);
        let authority = Authority::load(&certificate, &key).map_err(|e| unusable("the CA", &e))?.with_lives(lives);
        let text = file::read_secret(&folder.join(PSK_SECRET)).map_err(missing)?;
        let psk: Psk = text.parse().map_err(|e: crate::types::KeyError| {
            Problem::new("M0607", Exit::Failed, format!("{PSK_SECRET}: {e}")).help("restore it from its backup")
        })?;
        Ok(Self { authority, psk: SecretKey::from_bytes(*psk.expose()), folder: folder.to_owned() })
    }

    /// The server's key and certificate: those on disk while they are good for another third of `life`, else new ones.
    ///
    /// # Errors
    /// [`Problem`] M0605 to M0607.
    pub(super) fn server(&self, life: std::time::Duration, now: Wall) -> Result<ServerKey, Problem> {
        let [key, certificate] = [SERVER_KEY, SERVER_CERTIFICATE].map(|name| self.folder.join(name));
        if let (Ok(key), Ok(text)) = (file::read_secret(&key), file::read(&certificate)) {
            let text = String::from_utf8_lossy(&text).into_owned();
            let (begins, ends) = certs::validity_of_pem(&text).unwrap_or_default();
            let ours = self.chain(&text);
            // One that a wrong clock made begins in the future, and nobody would take it until then.
            if begins <= now
                && ends > now + life / 3
                && crate::transport::server::server_config(self.ca(), &ours, &key).is_ok()
            {
                return Ok(ServerKey { chain: ours, key, ends });
            }
        }
        let made = self.authority.server(now, crate::clock::random());
        let made = made.map_err(|e| unusable("cannot make the server certificate", &e))?;
        // A key without its certificate is made anew at the next start.
        file::write(&key, made.key.as_bytes(), 0o600).map_err(|e| disk(&e))?;
        file::write(&certificate, made.certificate.as_bytes(), 0o600).map_err(|e| disk(&e))?;
        let ends = certs::validity_of_pem(&made.certificate).map(|(_, ends)| ends).unwrap_or_default();
        Ok(ServerKey { chain: self.chain(&made.certificate), key: made.key, ends })
    }

    /// PEM of the CA.
    pub(super) fn ca(&self) -> &str {
        self.authority.certificate()
    }

    fn chain(&self, certificate: &str) -> String {
        format!("{}\n{}", certificate.trim_end(), self.ca())
    }
}
