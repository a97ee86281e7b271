//! How a budget is written: `50usd/month`, `2000000tokens/day`, `60requests/minute`, `8at-once`.

use store::budget::{Budget, Unit, Window};
use wire::price::usd;

/// How much of what in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Nano-dollars, tokens, requests, exchanges at once.
    pub amount: u64,
    /// Of what.
    pub unit: Unit,
    /// In which time.
    pub window: Window,
}

/// Nano-dollars of a dollar.
const DOLLAR: u64 = 1_000_000_000;

/// The store counts in signed integers; a thousandth of that leaves room for sums.
const MOST: u64 = u64::MAX / 2 / 1000;

impl Rule {
    /// Reads a rule; says what is allowed where it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (amount, window) = match text.split_once('/') {
            Some((amount, word)) => (amount, Window::of(word).filter(|one| *one != Window::Ever)),
            None => (text, Some(Window::Ever)),
        };
        let rule = || {
            let (amount, unit) = quantity(amount)?;
            let window = window?;
            // At once is at any moment; the rest is in some time, or for ever.
            let fits = unit != Unit::AtOnce || window == Window::Ever;
            fits.then_some(Self { amount, unit, window })
        };
        rule().ok_or_else(|| {
            format!(
                "`{text}` is no budget such as 50usd/month, 2000000tokens/day, 60requests/minute or 8at-once: \
                 an amount above 0; usd, tokens or requests; / minute, hour, day, week or month, or nothing for a budget that never begins anew"
            )
        })
    }
}

/// An amount with its unit, as `50usd`; nothing where it is none, or nothing at all.
pub fn quantity(text: &str) -> Option<(u64, Unit)> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'))?;
    let (number, word) = text.split_at_checked(digits)?;
    let (number, unit) = (number.replace('_', ""), Unit::of(word)?);
    let amount = match unit {
        Unit::Usd => dollars(&number)?,
        Unit::Tokens | Unit::Requests | Unit::AtOnce => number.parse().ok()?,
    };
    (1..=MOST).contains(&amount).then_some((amount, unit))
}

/// Nano-dollars of a decimal number of dollars.
fn dollars(number: &str) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || fraction.contains('.') || whole.len() + fraction.len() == 0 {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos: u64 = format!("{fraction:0<9}").parse().ok()?;
    whole.checked_mul(DOLLAR)?.checked_add(nanos)
}

/// An amount as people read it: `50.00 USD`, `200 tokens`.
pub fn amount(amount: u64, unit: Unit) -> String {
    match unit {
        Unit::Usd => format!("{} USD", cents(amount)),
        Unit::Tokens => format!("{amount} tokens"),
        Unit::Requests => format!("{amount} requests"),
        Unit::AtOnce => format!("{amount} at once"),
    }
}

/// A budget's rule as people read it: `50.00 USD a month`.
pub fn spoken(budget: &Budget) -> String {
    let amount = amount(budget.amount, budget.unit);
    match budget.window {
        Window::Ever => amount,
        Window::Hour => format!("{amount} an hour"),
        window => format!("{amount} a {}", window.as_str()),
    }
}

/// A budget's rule as it is written: `50usd/month`.
pub fn written(budget: &Budget) -> String {
    let amount = plain(budget.amount, budget.unit);
    let unit = budget.unit.as_str();
    match budget.window {
        Window::Ever => format!("{amount}{unit}"),
        window => format!("{amount}{unit}/{}", window.as_str()),
    }
}

/// An amount as a number alone: dollars as a decimal number, the rest as it is counted.
pub fn plain(amount: u64, unit: Unit) -> String {
    match unit {
        Unit::Usd => cents(amount),
        Unit::Tokens | Unit::Requests | Unit::AtOnce => amount.to_string(),
    }
}

/// Dollars with at least two decimals.
fn cents(nanos: u64) -> String {
    let mut text = usd(nanos);
    while text.ends_with('0') && text.split_once('.').is_some_and(|(_, part)| part.len() > 2) {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Rule, amount};
    use store::budget::{Unit, Window};

    fn check(text: &str, expected: Option<(u64, Unit, Window)>) {
        let expected = expected.map(|(amount, unit, window)| Rule { amount, unit, window });
        assert_eq!(Rule::parse(text).ok(), expected, "{text}");
    }

    #[test]
    fn what_is_written_is_read() {
        check("50usd/month", Some((50_000_000_000, Unit::Usd, Window::Month)));
        check("0.000000001usd/day", Some((1, Unit::Usd, Window::Day)));
        check(".5usd/week", Some((500_000_000, Unit::Usd, Window::Week)));
        check("1_000_000tokens/hour", Some((1_000_000, Unit::Tokens, Window::Hour)));
        check("60requests/minute", Some((60, Unit::Requests, Window::Minute)));
        check("8at-once", Some((8, Unit::AtOnce, Window::Ever)));
        check("100usd", Some((100_000_000_000, Unit::Usd, Window::Ever)));
    }

    #[test]
    fn what_is_none_is_none() {
        let texts = [
            "",
            "50",
            "usd/month",
            "50eur/month",
            "50usd/year",
            "50usd/ever",
            "0usd/day",
            "-1usd",
            "1.5tokens/day",
            "1.2.3usd",
            "8at-once/day",
            "50usd/",
            "99999999999999999usd/day",
            "0.0000000001usd",
            ".usd",
            "5usd/day/day",
            "１usd/day",
        ];
        for text in texts {
            check(text, None);
        }
    }

    #[test]
    fn money_is_said_in_cents_or_finer() {
        assert_eq!(amount(50_000_000_000, Unit::Usd), "50.00 USD");
        assert_eq!(amount(1_230_000, Unit::Usd), "0.00123 USD");
    }
}
