//! When counting begins anew.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};
use store::budget::Window;

/// A window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub begins: Timestamp,
    /// The first moment of the next; nothing where it never ends.
    pub ends: Option<Timestamp>,
}

impl Period {
    /// The window that a moment is in, by the calendar of a zone.
    pub fn of(window: Window, zone: &TimeZone, now: Timestamp) -> Self {
        let today = now.to_zoned(zone.clone()).date();
        match window {
            Window::Ever => Self { begins: Timestamp::UNIX_EPOCH, ends: None },
            Window::Minute => Self::clock(60, zone, now),
            Window::Hour => Self::clock(3600, zone, now),
            Window::Day => Self::days(today, 1.day(), zone),
            Window::Week => {
                let since_monday = i64::from(today.weekday().to_monday_zero_offset());
                Self::days(today.saturating_sub(since_monday.days()), 1.week(), zone)
            }
            Window::Month => Self::days(today.first_of_month(), 1.month(), zone),
        }
    }

    /// So many seconds by the zone's clock. In the hour in which a clock is put back each is its own.
    fn clock(seconds: i64, zone: &TimeZone, now: Timestamp) -> Self {
        let offset = i64::from(zone.to_offset(now).seconds());
        let since = (now.as_second() + offset).rem_euclid(seconds);
        let at = |second| Timestamp::from_second(second).unwrap_or(now);
        let begins = now.as_second() - since;
        Self { begins: at(begins), ends: Some(at(begins + seconds)) }
    }

    /// From the first moment of one day to that of another.
    fn days(first: Date, length: Span, zone: &TimeZone) -> Self {
        let begin = |day: Date| {
            let midnight = day.to_zoned(zone.clone()).map(|zoned| zoned.timestamp());
            // Only the last day of the calendar has no next.
            midnight.unwrap_or(Timestamp::MAX)
        };
        Self { begins: begin(first), ends: Some(begin(first.saturating_add(length))) }
    }
}

#[cfg(test)]
mod tests {
    use super::Period;
    use jiff::tz::TimeZone;
    use store::budget::Window;

    fn check(window: Window, zone: &str, now: &str, begins: &str, ends: &str) {
        let zone = TimeZone::get(zone).unwrap();
        let period = Period::of(window, &zone, now.parse().unwrap());
        let expected =
            Period { begins: begins.parse().unwrap(), ends: Some(ends.parse().unwrap()) };
        assert_eq!(period, expected, "{window:?} at {now}");
    }

    #[test]
    fn windows_begin_by_the_calendar_of_their_zone() {
        let now = "2026-11-26T10:31:45.5Z";
        let day = "2026-11-26T00:00:00Z";
        check(Window::Minute, "UTC", now, "2026-11-26T10:31:00Z", "2026-11-26T10:32:00Z");
        check(Window::Hour, "UTC", now, "2026-11-26T10:00:00Z", "2026-11-26T11:00:00Z");
        check(Window::Hour, "Asia/Kolkata", now, "2026-11-26T10:30:00Z", "2026-11-26T11:30:00Z");
        check(Window::Day, "UTC", now, day, "2026-11-27T00:00:00Z");
        check(Window::Week, "UTC", now, "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z");
        check(Window::Month, "UTC", now, "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z");
    }

    #[test]
    fn a_month_with_a_change_of_clocks_is_an_hour_longer() {
        let (begins, ends) = ("2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z");
        check(Window::Month, "Europe/Berlin", "2026-10-25T12:00:00Z", begins, ends);
        let (begins, ends) = ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
        check(Window::Day, "Europe/Berlin", "2026-10-25T12:00:00Z", begins, ends);
    }

    #[test]
    fn each_moment_is_in_one_window() {
        let zone = TimeZone::get("America/New_York").unwrap();
        for window in [Window::Minute, Window::Hour, Window::Day, Window::Week, Window::Month] {
            let mut now = "2026-01-01T00:00:00Z".parse().unwrap();
            for _ in 0..40 {
                let period = Period::of(window, &zone, now);
                assert!(period.begins <= now && Some(now) < period.ends, "{window:?} at {now}");
                now = period.ends.unwrap();
                assert_eq!(Period::of(window, &zone, now).begins, now, "one ends where one begins");
            }
        }
    }
}
