//! Bytes as people have them → lines of words, each with its number in the file. Takes UTF-8, UTF-16 and Latin-1, every
//! kind of line end, quotes that a mailer made typographic, and lines that go on after a backslash.

/// A line with what continues it.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    /// Where it begins, counted from 1.
    pub number: u32,
    pub words: Vec<Word>,
    /// A quote that nobody closed.
    pub open_quote: bool,
}

/// What stands between blanks; quotes keep blanks together and are gone here.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    pub text: String,
    /// It began with a quote.
    pub quoted: bool,
}

impl Word {
    /// `KEY=value` in its two parts.
    pub fn pair(&self) -> Option<(&str, &str)> {
        if self.quoted { None } else { self.text.split_once('=') }
    }
}

/// The text of a file, whatever its encoding; what is neither UTF-16 nor UTF-8 is Latin-1.
pub(super) fn decode(bytes: &[u8]) -> String {
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [first, 0, ..] if *first != 0 => utf16(bytes, u16::from_le_bytes),
        [0, second, ..] if *second != 0 => utf16(bytes, u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
            let latin = || bytes.iter().copied().map(char::from).collect();
            str::from_utf8(bytes).map_or_else(|_| latin(), str::to_owned)
        }
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().copied().map(unit).collect();
    String::from_utf16_lossy(&units)
}

/// The physical lines, whatever ends them.
pub(super) fn rows(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// The lines that say something. A comment begins with # at the beginning of a word; inside a line that goes on it is
/// skipped. `continues` tells of a row without a backslash before it whether it belongs to the line before.
pub(super) fn lines(text: &str, continues: impl Fn(&str) -> bool) -> Vec<Line> {
    let mut joined: Vec<(u32, String)> = Vec::new();
    let mut open = false;
    for (number, row) in (1..).zip(rows(text)) {
        let row = row.trim_matches(blank);
        if row.starts_with('#') || (row.is_empty() && !open) {
            continue;
        }
        let (row, goes_on) = match row.strip_suffix('\\') {
            Some(row) => (row, true),
            None => (row, false),
        };
        match joined.last_mut() {
            Some((_, line)) if open || continues(row) => {
                line.push(' ');
                line.push_str(row);
            }
            _ => joined.push((number, row.to_owned())),
        }
        open = goes_on;
    }
    joined
        .into_iter()
        .map(|(number, line)| words(number, &line))
        .filter(|line| !line.words.is_empty())
        .collect()
}

fn blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || c == '\u{FEFF}'
}

fn words(number: u32, line: &str) -> Line {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let (mut quote, mut depth) = (false, 0_u32);
    for c in line.chars() {
        let is_quote = matches!(c, '"' | '\u{201C}' | '\u{201D}' | '\u{201E}');
        if blank(c) && !quote && depth == 0 {
            words.extend(word.take());
            continue;
        }
        if c == '#' && word.is_none() {
            break;
        }
        let into = word.get_or_insert_with(|| Word { text: String::new(), quoted: is_quote });
        match c {
            _ if is_quote => quote = !quote,
            '{' if !quote => depth += 1,
            '}' if !quote => depth = depth.saturating_sub(1),
            _ => into.text.push(if blank(c) { ' ' } else { c }),
        }
    }
    words.extend(word);
    Line { number, words, open_quote: quote || depth > 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(u32, Vec<String>)> {
        let lines = lines(text, |_| false);
        lines
            .into_iter()
            .map(|line| (line.number, line.words.into_iter().map(|w| w.text).collect()))
            .collect()
    }

    #[test]
    fn a_line_goes_on_after_a_backslash_and_keeps_the_number_of_its_beginning() {
        let text = "# title\r\n\r\nFEATURE a \\  \r\n\tb=\"c  d\" \\\r\n# between\r\n e\r\nNEXT # rest";
        let line = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        assert_eq!(read(text), [(3, line(&["FEATURE", "a", "b=c  d", "e"])), (7, line(&["NEXT"]))]);
    }

    #[test]
    fn every_encoding_gives_the_same_text() {
        let text = "FEATURE größe";
        let units: Vec<u16> = text.encode_utf16().collect();
        let le: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let be: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
        let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
        let all = [
            text.as_bytes().to_vec(),
            marked(&[0xEF, 0xBB, 0xBF], text.as_bytes()),
            latin,
            marked(&[0xFF, 0xFE], &le),
            marked(&[0xFE, 0xFF], &be),
            le,
            be,
        ];
        for bytes in all {
            assert_eq!(decode(&bytes), text, "{bytes:?}");
        }
    }

    #[test]
    fn typographic_quotes_are_quotes_and_braces_keep_together() {
        let words = read("NOTICE=\u{201C}by Acme\u{201D} AUTH={ a=( SIGN=\"1 2\" ) } x");
        assert_eq!(words[0].1, ["NOTICE=by Acme", "AUTH= a=( SIGN=1 2 ) ", "x"]);
    }

    #[test]
    fn a_quote_that_nobody_closes_is_known() {
        assert!(lines("FEATURE NOTICE=\"by Acme", |_| false)[0].open_quote);
        assert!(!lines("FEATURE NOTICE=\"by Acme\"", |_| false)[0].open_quote);
    }

    #[test]
    fn what_continues_without_a_backslash_is_told_by_the_caller() {
        let lines = lines("LICENSE a\n sig=1\nISV b", |row| row.starts_with("sig"));
        assert_eq!(lines.iter().map(|line| line.words.len()).collect::<Vec<_>>(), [3, 2]);
    }
}
