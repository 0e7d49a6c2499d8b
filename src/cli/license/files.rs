//! Files of keys and documents: read within a limit, written only where nothing is.

use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use crate::{
    cli::Failure,
    license::document::{MAX_KEY, PublicKey, SigningKey, fingerprint},
};

const MACHINE_ID: &str = "/etc/machine-id";

/// A file to be.
pub(super) struct New {
    pub path: PathBuf,
    pub text: String,
    pub mode: u32,
}

/// The text of a file, or of stdin for `-`, without the blanks around it. One byte over `limit` is read, so that the
/// parser says what is too long.
pub(super) fn read(path: &Path, limit: usize) -> Result<String, Failure> {
    let failure = |error: io::Error| {
        let path = path.display();
        Failure::configuration(format!("cannot read {path}: {error}. Give a file that this user may read."))
    };
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(fs::File::open(path).map_err(failure)?)
    };
    let mut text = String::new();
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    source.take(limit).read_to_string(&mut text).map_err(failure)?;
    Ok(text.trim().to_owned())
}

/// The private key of a file.
pub(super) fn signing_key(path: &Path) -> Result<SigningKey, Failure> {
    SigningKey::from_pem(&read(path, MAX_KEY)?).map_err(|error| bad(path, error))
}

/// The public key of a file.
pub(super) fn public_key(path: &Path) -> Result<PublicKey, Failure> {
    PublicKey::from_text(&read(path, MAX_KEY)?).map_err(|error| bad(path, error))
}

/// A file that holds something else than it should.
pub(super) fn bad(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::configuration(format!("{}: {error}", path.display()))
}

/// Makes a key and its files: the private one at `path`, the public one beside it as PEM and as JWK.
pub(super) fn new_key(path: PathBuf) -> Result<(SigningKey, [PathBuf; 3]), Failure> {
    let key = SigningKey::generate().map_err(Failure::unexpected)?;
    let private = key.to_pem().map_err(Failure::unexpected)?;
    let jwk = serde_json::to_string(&key.public()).map_err(Failure::unexpected)?;
    let (pem, json) = (path.with_extension("pub.pem"), path.with_extension("pub.jwk"));
    write_new(&[
        New { path: path.clone(), text: private, mode: 0o600 },
        New { path: pem.clone(), text: key.public().to_pem(), mode: 0o644 },
        New { path: json.clone(), text: format!("{jwk}\n"), mode: 0o644 },
    ])?;
    Ok((key, [path, pem, json]))
}

/// Writes all files, or none; never over one that is there: a key or a license that is lost cannot be made again.
pub(super) fn write_new(files: &[New]) -> Result<(), Failure> {
    for (i, file) in files.iter().enumerate() {
        if let Err(error) = write(file) {
            for made in &files[..i] {
                let _ = fs::remove_file(&made.path);
            }
            let path = file.path.display();
            return Err(Failure::configuration(match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    format!(
                        "{path} is there already, and is not overwritten: give another name, or move it away"
                    )
                }
                _ => format!(
                    "cannot write {path}: {error}. Give a file in a directory that this user may write."
                ),
            }));
        }
    }
    Ok(())
}

fn write(new: &New) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(new.mode).open(&new.path)?;
    let result = file.write_all(new.text.as_bytes()).and_then(|()| file.sync_all());
    if result.is_err() {
        let _ = fs::remove_file(&new.path);
    }
    result
}

/// The fingerprint of the machine that this runs on.
pub(super) fn this_machine() -> Result<String, Failure> {
    let found = fs::read_to_string(MACHINE_ID).ok().and_then(|id| fingerprint(&id));
    found.ok_or_else(|| {
        Failure::configuration(format!(
            "this machine has no id in {MACHINE_ID}: give a fingerprint with --host=FINGERPRINT"
        ))
    })
}
