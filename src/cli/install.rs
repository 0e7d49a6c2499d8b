//! `genie-lm install DIR`: puts this binary into a shared volume, for images that have no `cp`.

use std::{
    env, fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{Exit, Failure, Output};

const MODE: u32 = 0o755;

/// Copy this binary to DIR/genie-lm, at once or not at all: for init containers.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// An existing directory, such as a shared emptyDir volume.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

pub(crate) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    let target = args.dir.join("genie-lm");
    copy(&args.dir, &target).map_err(|error| {
        Failure::configuration(format!(
            "cannot install into {}: {error}. Give an existing directory that this user may write.",
            args.dir.display()
        ))
    })?;
    let target = target.display().to_string();
    output.write(&serde_json::json!({ "installed": target }), &[vec![format!("installed {target}")]])?;
    Ok(Exit::Success)
}

/// Writes beside the target and renames, so that nobody ever runs half a binary.
fn copy(dir: &Path, target: &Path) -> io::Result<()> {
    let partial = dir.join(format!(".genie-lm.{}", std::process::id()));
    let result = write(&partial).and_then(|()| fs::rename(&partial, target));
    if result.is_err() {
        let _ = fs::remove_file(&partial);
    }
    result
}

fn write(path: &Path) -> io::Result<()> {
    let mut source = fs::File::open(env::current_exe()?)?;
    // The directory may be shared: what lies there under this name is not written through.
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    io::copy(&mut source, &mut file)?;
    // The umask may have taken bits away.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.sync_all()
}
