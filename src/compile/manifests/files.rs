//! Paths → texts, within bounds. Subfolders of a directory are not read, as with `kubectl apply -f`.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::Problem;

/// One file: a thousand grants are 300 KiB.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// Files of one load.
pub const MAX_FILES: usize = 1_000;
/// All files together; it is held in memory while it is compiled.
pub const MAX_TOTAL_BYTES: u64 = 64 << 20;

/// Each file's text, in order of paths, and what cannot be read.
pub(super) fn texts(paths: &[impl AsRef<Path>]) -> (Vec<(PathBuf, String)>, Vec<Problem>) {
    let (mut texts, mut problems) = (Vec::new(), Vec::new());
    let mut left = MAX_TOTAL_BYTES;
    let mut files = Vec::new();
    for path in paths {
        files.extend(list(path.as_ref(), &mut problems));
    }
    files.sort();
    files.dedup();
    for (index, file) in files.into_iter().enumerate() {
        if index >= MAX_FILES {
            problems.push(Problem::of_file(
                &file,
                format!("this and what follows is not read: there are more than {MAX_FILES} files"),
            ));
            break;
        }
        match read(&file, MAX_FILE_BYTES.min(left)) {
            Ok(text) => {
                left -= text.len() as u64;
                texts.push((file, text));
            }
            Err(error) => problems.push(Problem::of_file(&file, error)),
        }
    }
    (texts, problems)
}

/// The file itself, or the manifests of a directory.
fn list(path: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let files = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => manifests(path),
        Ok(_) => return vec![path.to_owned()],
        Err(error) => Err(error),
    };
    match files {
        Ok(files) if files.is_empty() => {
            problems.push(Problem::of_file(
                path,
                "there is no file here whose name ends with .yaml, .yml or .json",
            ));
            files
        }
        Ok(files) => files,
        Err(error) => {
            problems.push(Problem::of_file(path, format!("cannot be read: {error}")));
            Vec::new()
        }
    }
}

/// Hidden names are left out: editors' and ConfigMap volumes' own files are hidden.
fn manifests(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let ours = path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if !hidden && ours && fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            files.push(path);
        }
    }
    Ok(files)
}

fn read(path: &Path, most: u64) -> Result<String, String> {
    let file = fs::metadata(path).and_then(|metadata| {
        if metadata.is_file() { fs::File::open(path) } else { Err(io::Error::other("it is not a file")) }
    });
    let mut bytes = Vec::new();
    file.and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > most {
        return Err(format!(
            "is too large: at most {MAX_FILE_BYTES} bytes a file, and {MAX_TOTAL_BYTES} in all"
        ));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
}
