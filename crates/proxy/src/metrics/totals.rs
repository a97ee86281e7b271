//! Counters that go on where another process left off.
//!
//! Counters are told apart by their series, as it stands in the text for Prometheus: so nothing has
//! to be done here when one is added.

use std::collections::BTreeMap;

/// Values of counters, by series.
pub type Totals = BTreeMap<String, f64>;

/// Every counter in a text.
pub(super) fn read(text: &str) -> Totals {
    let series = text.lines().filter_map(series);
    series.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A text with these added to its counters.
pub(super) fn add(text: &str, inherited: &Totals) -> String {
    let mut left = inherited.clone();
    let mut merged = Vec::new();
    let mut family = String::new();
    for line in text.lines() {
        if line.starts_with("# HELP ") || line == "# EOF" {
            finish(&family, &mut left, &mut merged);
        }
        if line == "# EOF" {
            introduce(&mut left, &mut merged);
        }
        if let Some(name) = line.strip_prefix("# TYPE ") {
            name.split(' ').next().unwrap_or_default().clone_into(&mut family);
        }
        match series(line).and_then(|(name, value)| Some((name, value + left.remove(name)?))) {
            Some((name, sum)) => merged.push(format!("{name} {sum}")),
            None => merged.push(line.to_owned()),
        }
    }
    merged.push(String::new());
    merged.join("\n")
}

/// What has grown since.
pub(crate) fn since(now: &Totals, before: &Totals) -> Totals {
    let grown = |(name, value): (&String, &f64)| {
        (name.clone(), value - before.get(name).copied().unwrap_or_default())
    };
    now.iter().map(grown).filter(|(_, value)| *value > 0.0).collect()
}

/// The name and value of a counter's line.
fn series(line: &str) -> Option<(&str, f64)> {
    let (name, value) = line.rsplit_once(' ')?;
    let counter = name.split('{').next()?.ends_with("_total") && !name.starts_with('#');
    Some((name, value.parse().ok()?)).filter(|_| counter)
}

/// Series of this family that count nothing here yet.
fn finish(family: &str, left: &mut Totals, merged: &mut Vec<String>) {
    let own = |name: &str| name.split('{').next() == Some(&format!("{family}_total"));
    left.retain(|name, value| {
        let is_own = own(name);
        if is_own {
            merged.push(format!("{name} {value}"));
        }
        !is_own
    });
}

/// Families that count nothing here yet.
fn introduce(left: &mut Totals, merged: &mut Vec<String>) {
    while let Some(name) = left.keys().next().cloned() {
        let family = name.split("_total").next().unwrap_or_default().to_owned();
        merged.push(format!("# TYPE {family} counter"));
        finish(&family, left, merged);
        left.remove(&name);
    }
}

#[cfg(test)]
mod tests {
    use super::{add, read, since};

    const TEXT: &str = "# HELP a_exchanges Exchanges.\n# TYPE a_exchanges counter\na_exchanges_total{outcome=\"complete\"} 3\n# HELP a_open Open.\n# TYPE a_open gauge\na_open 2\n# HELP a_cost Cost.\n# TYPE a_cost counter\na_cost_total 0.5\n# EOF\n";

    #[test]
    fn counters_go_on_and_gauges_do_not() {
        let inherited = "a_exchanges_total{outcome=\"complete\"} 4\na_exchanges_total{outcome=\"failed\"} 1\na_open 7\na_cost_total 1.25\na_words_total{word=\"busy\"} 2\n";
        let expected = "# HELP a_exchanges Exchanges.\n# TYPE a_exchanges counter\na_exchanges_total{outcome=\"complete\"} 7\na_exchanges_total{outcome=\"failed\"} 1\n# HELP a_open Open.\n# TYPE a_open gauge\na_open 2\n# HELP a_cost Cost.\n# TYPE a_cost counter\na_cost_total 1.75\n# TYPE a_words counter\na_words_total{word=\"busy\"} 2\n# EOF\n";
        assert_eq!(add(TEXT, &read(inherited)), expected);
        assert_eq!(add(TEXT, &read("")), TEXT);
    }

    #[test]
    fn what_has_grown_is_told_once() {
        let later = TEXT.replace("} 3", "} 5");
        let grown = since(&read(&later), &read(TEXT));
        assert_eq!(grown, read("a_exchanges_total{outcome=\"complete\"} 2"));
    }
}
