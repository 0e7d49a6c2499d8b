//! Dates as license files write them.

use jiff::civil::Date;

/// When a license ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ends {
    /// After this day.
    After(Date),
    /// `permanent`, or a year that means it.
    Never,
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// `permanent`, or a date whose year is 0 or far away.
pub(super) fn ends(text: &str) -> Option<Ends> {
    if text.eq_ignore_ascii_case("permanent") {
        return Some(Ends::Never);
    }
    match parts(text)? {
        (_, _, 0 | 9000..) => Some(Ends::Never),
        (day, month, year) => Some(Ends::After(Date::new(century(year), month, day).ok()?)),
    }
}

/// `dd-mmm-yyyy`, `dd-mmm-yy`, a time of day after a colon is left out.
pub(super) fn date(text: &str) -> Option<Date> {
    let (day, month, year) = parts(text.split(':').next()?)?;
    Date::new(century(year), month, day).ok()
}

fn parts(text: &str) -> Option<(i8, i8, i16)> {
    let mut parts = text.split('-');
    let (day, month, year) = (parts.next()?, parts.next()?.to_ascii_lowercase(), parts.next()?);
    if parts.next().is_some() || month.len() < 3 || !year.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let month = MONTHS.iter().position(|name| name.starts_with(&month))?;
    Some((day.parse().ok()?, i8::try_from(month).ok()? + 1, year.parse().ok()?))
}

/// Two digits are of the years that such files were made in.
fn century(year: i16) -> i16 {
    match year {
        0..70 => year + 2000,
        70..100 => year + 1900,
        _ => year,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_that_means_permanent_is_permanent() {
        for text in ["permanent", "PERMANENT", "1-jan-0", "01-Jan-0000", "1-jan-00", "1-jan-9999"] {
            assert_eq!(ends(text), Some(Ends::Never), "{text}");
        }
    }

    #[test]
    fn dates_are_read_in_every_form() {
        let day = jiff::civil::date(2027, 6, 3);
        for text in ["3-jun-2027", "03-JUN-2027", "3-june-27", "03-Jun-2027"] {
            assert_eq!(ends(text), Some(Ends::After(day)), "{text}");
        }
        assert_eq!(date("3-jun-2027:14:30"), Some(day));
        assert_eq!(date("3-jun-98"), Some(jiff::civil::date(1998, 6, 3)));
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "soon",
            "31-feb-2027",
            "1-ja-2027",
            "1-jan",
            "1-jan-2027-1",
            "1-foo-2027",
            "1-jan--5",
            "1-jan-",
        ] {
            assert_eq!(ends(text), None, "{text}");
        }
    }
}
