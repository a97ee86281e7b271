use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::usage::Other;

const TODAY: Date = date(2026, 11, 22);

fn usage(input: u64, cached: u64, written: u64, output: u64) -> Usage {
    Usage {
        input_tokens: input,
        cached_input_tokens: cached,
        cache_write_tokens: written,
        output_tokens: output,
        ..Usage::default()
    }
}

fn cost(model: &str, tier: Option<&str>, usage: Usage) -> Option<u64> {
    PriceTable::builtin().cost(model, tier, TODAY, &usage).map(|cost| cost.nanos)
}

fn check(model: &str, tier: Option<&str>, usage: Usage, expected: Option<&str>) {
    let cost = cost(model, tier, usage).map(usd);
    assert_eq!(cost.as_deref(), expected, "{model} {tier:?} {usage:?}");
}

fn model_of(toml: &str, model: &str, day: Date) -> Option<(String, Date)> {
    let table = PriceTable::parse(toml).unwrap();
    table.row(model, day).map(|row| (row.model.clone(), row.from))
}

fn problems(toml: &str) -> Vec<String> {
    PriceTable::parse(toml).unwrap_err().problems
}

#[test]
fn each_class_of_tokens_has_its_rate() {
    let million = 1_000_000;
    let short = usage(100_000, 0, 0, 0);
    check("gpt-6.1-sol", None, short, Some("0.2000"));
    check("gpt-6.1-sol", None, usage(100_000, 100_000, 0, 0), Some("0.0100"));
    check("gpt-6.1-sol", None, usage(100_000, 0, 100_000, 0), Some("0.2500"));
    check("gpt-6.1-sol", None, usage(0, 0, 0, million), Some("10.0000"));
    check("gpt-6.1-sol", None, usage(100_000, 40_000, 50_000, 1_000), Some("0.1590"));
}

#[test]
fn the_whole_request_is_long_above_272_000_tokens() {
    check("gpt-5.5", None, usage(272_000, 0, 0, 1_000), Some("1.3900"));
    check("gpt-5.5", None, usage(272_001, 0, 0, 1_000), Some("2.76501"));
    check("gpt-5.5", None, usage(272_001, 272_001, 0, 0), Some("0.272001"));
    check("gpt-6.1-sol", None, usage(300_000, 0, 300_000, 0), Some("1.5000"));
    check("gpt-5.2", None, usage(272_001, 0, 0, 0), Some("0.47600175"));
}

#[test]
fn tiers_have_their_rates_and_the_cache_follows_the_input() {
    let million_out = usage(100_000, 100_000, 0, 1_000_000);
    for standard in [None, Some("default"), Some("standard"), Some("auto")] {
        check("gpt-5.5", standard, million_out, Some("30.0500"));
    }
    check("gpt-5.5", Some("flex"), million_out, Some("15.0250"));
    check("gpt-5.5", Some("batch"), million_out, Some("15.0250"));
    check("gpt-5.5", Some("priority"), million_out, Some("75.1250"));
    check("gpt-5.5", Some("priority"), usage(300_000, 0, 0, 1_000), Some("7.6125"));
}

#[test]
fn without_a_cached_rate_cached_tokens_are_input() {
    check("gpt-5.5-pro", None, usage(1_000, 900, 100, 0), Some("0.0300"));
    check("gpt-5.5-pro", None, usage(1_000_000, 1_000_000, 0, 0), Some("60.0000"));
}

#[test]
fn what_has_no_price_is_unpriced_and_not_free() {
    check("gpt-99", None, usage(1, 0, 0, 1), None);
    check("gpt-5.5", Some("scale"), usage(1, 0, 0, 1), None);
    check("gpt-5.5-cyber", Some("flex"), usage(1, 0, 0, 1), None);
    check("text-embedding-3-small", None, usage(0, 0, 0, 0), Some("0.0000"));
    assert!(PriceTable::builtin().row("gpt-5.5", date(2019, 12, 31)).is_none());
}

#[test]
fn a_count_that_contradicts_itself_charges_no_token_twice() {
    let all = usage(100, 100, 0, 0);
    assert_eq!(cost("gpt-6.1-sol", None, usage(100, 900, 900, 0)), cost("gpt-6.1-sol", None, all));
}

#[test]
fn the_largest_counts_do_not_overflow() {
    let most = usage(u64::MAX, 0, u64::MAX, u64::MAX);
    assert_eq!(cost("gpt-5.5", Some("priority"), most), Some(u64::MAX));
}

#[test]
fn costs_are_rounded_half_up_once() {
    assert_eq!([499, 500, 1_499, 1_500].map(to_nanos), [0, 1, 1, 2]);
    assert_eq!(to_nanos(u128::MAX), u64::MAX);
}

#[test]
fn dollars_are_exact_with_four_to_nine_decimals() {
    let shown = [0, 1, 482_100_000, 1_000_000_000, 12_345_678_900, u64::MAX].map(usd);
    let expected =
        ["0.0000", "0.000000001", "0.4821", "1.0000", "12.3456789", "18446744073.709551615"];
    assert_eq!(shown, expected);
}

#[test]
fn a_dated_snapshot_has_the_price_of_its_model() {
    let row = |model| PriceTable::builtin().row(model, TODAY).map(|row| row.model.clone());
    assert_eq!(row("gpt-5.5-2026-08-07").as_deref(), Some("gpt-5.5"));
    assert_eq!(row("gpt-5.5-pro-2026-08-07").as_deref(), Some("gpt-5.5-pro"));
    assert_eq!(row("text-embedding-3-large").as_deref(), Some("text-embedding-3-large"));
    for other in ["gpt-5.5-2026-8-7", "-2026-08-07", "gpt-5.5-latest", "gpt-5.5é-2026-08-07", ""] {
        assert_eq!(row(other), None, "{other}");
    }
}

const CLOSEST: &str = r#"
    [[price]]
    model = "own-*"
    from = "2026-01-01"
    source = "contract"
    input = "1"
    output = "2"
    [[price]]
    model = "own-large*"
    from = "2026-01-01"
    source = "contract"
    input = "3"
    output = "4"
    [[price]]
    model = "own-large"
    from = "2026-02-01"
    source = "contract"
    input = "5"
    output = "6"
    [[price]]
    model = "own-large"
    from = "2026-03-01"
    source = "contract"
    input = "4"
    output = "5"
"#;

#[test]
fn the_closest_name_wins_and_of_that_the_newest_day() {
    let (january, february, march) = (date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1));
    for (model, day, expected) in [
        ("own-small", march, Some(("own-*", january))),
        ("own-large", date(2026, 1, 31), Some(("own-large*", january))),
        ("own-large", date(2026, 2, 28), Some(("own-large", february))),
        ("own-large", march, Some(("own-large", march))),
        ("own-large-2026-01-01", march, Some(("own-large", march))),
        ("own-larger", march, Some(("own-large*", january))),
        ("own-small", date(2025, 12, 31), None),
        ("other", march, None),
    ] {
        let expected = expected.map(|(name, from)| (name.to_owned(), from));
        assert_eq!(model_of(CLOSEST, model, day), expected, "{model} on {day}");
    }
}

#[test]
fn every_problem_is_told_with_its_line() {
    let toml = r#"currency = "USD"
[[price]]
model = "a"
from = "soon"
source = ""
input = 1
output = "1.0000001"
colour = "red"
flex = "half"
batch = { input = "1", out = "2" }
context_window = -1

[[price]]
model = "b"
from = "2026-01-01"
source = "s"
input = "1"
output = "1"
[[price]]
model = "b"
from = "2026-01-01"
source = "s"
input = "1000001"
output = "."
[[price]]
model = "b"
from = "2026-01-01"
source = "s"
input = "1"
output = "1"
"#;
    let rate = "is no rate such as \"2.5\": USD per million tokens, in quotes";
    let expected = [
        "line 1: `currency` is unknown: rows are [[price]] and [[discount]], and `builtin` is true or false".to_owned(),
        "line 8: `colour` is unknown".to_owned(),
        "line 4: `from` is no date such as \"2026-01-31\", in quotes".to_owned(),
        "line 5: `source` is no text".to_owned(),
        format!("line 6: `input` {rate}"),
        format!("line 7: `output` {rate}"),
        "line 9: `flex` is no table of rates".to_owned(),
        "line 10: `out` is unknown".to_owned(),
        "line 10: `output` is missing".to_owned(),
        "line 11: `context_window` is no number of tokens".to_owned(),
        format!("line 23: `input` {rate}"),
        format!("line 24: `output` {rate}"),
        "line 25: `b` has a row from 2026-01-01 already".to_owned(),
    ];
    assert_eq!(problems(toml), expected);
}

#[test]
fn a_file_that_is_no_toml_is_told_with_its_line() {
    assert_eq!(problems("\n[[price]").len(), 1);
    assert!(problems("\n[[price]")[0].starts_with("line 2: "));
}

#[test]
fn every_built_in_row_names_its_source_and_scales_exactly() {
    for row in PriceTable::builtin().rows {
        assert_eq!(row.read, Some(TODAY), "{}", row.model);
        assert!(row.source.contains("litellm 1.109.1"), "{}", row.model);
        for tier in [&row.long, &row.flex, &row.priority, &row.batch].into_iter().flatten() {
            let (standard, whole) = (row.standard, tier.completed(&row.standard));
            for (part, of) in [
                (whole.cached_input_picos, standard.cached_input_picos),
                (whole.cache_write_picos, standard.cache_write_picos),
            ] {
                let product = |a: Option<u64>, b: u64| u128::from(a.unwrap_or(0)) * u128::from(b);
                let is = product(part, standard.input_picos);
                assert_eq!(is, product(of, tier.input_picos), "{}", row.model);
            }
        }
    }
}

prop_compose! {
    fn any_usage(most: u64)(
        input in 0..=most,
        cached in 0..=most,
        written in 0..=most,
        output in 0..=most,
    ) -> Usage {
        usage(input, cached.min(input), written.min(input - cached.min(input)), output)
    }
}

fn any_priced() -> impl Strategy<Value = (&'static str, Option<&'static str>)> {
    prop::sample::select(vec![
        ("gpt-5.5", None),
        ("gpt-5.5", Some("priority")),
        ("gpt-6.1-sol", Some("flex")),
        ("gpt-5.5-pro", None),
        ("o3", Some("batch")),
    ])
}

proptest! {
    #[test]
    fn more_tokens_never_cost_less(
        (model, tier) in any_priced(),
        less in any_usage(400_000),
        input in 0..400_000_u64,
        output in 0..400_000_u64,
    ) {
        let more = Usage {
            input_tokens: less.input_tokens + input,
            output_tokens: less.output_tokens + output,
            ..less
        };
        prop_assert!(cost(model, tier, more) >= cost(model, tier, less));
    }

    #[test]
    fn short_costs_add_up(
        (model, tier) in any_priced(),
        one in any_usage(136_000),
        other in any_usage(136_000),
    ) {
        let both = Usage {
            input_tokens: one.input_tokens + other.input_tokens,
            cached_input_tokens: one.cached_input_tokens + other.cached_input_tokens,
            cache_write_tokens: one.cache_write_tokens + other.cache_write_tokens,
            output_tokens: one.output_tokens + other.output_tokens,
            reasoning_tokens: 0,
            other: Other::default(),
        };
        let apart = cost(model, tier, one).unwrap() + cost(model, tier, other).unwrap();
        prop_assert!(apart.abs_diff(cost(model, tier, both).unwrap()) <= 1);
    }

    #[test]
    fn cached_input_is_never_dearer((model, tier) in any_priced(), used in any_usage(400_000)) {
        let cached_input_tokens = used.input_tokens - used.cache_write_tokens;
        let cached = Usage { cached_input_tokens, ..used };
        prop_assert!(cost(model, tier, cached) <= cost(model, tier, used));
    }

    #[test]
    fn no_text_makes_the_parser_panic(toml in "(\\[\\[price\\]\\]\n|input|=|\"1\"|\\{|\\}|\n|[a-z]|,|.){0,30}") {
        let _ = PriceTable::parse(&toml);
    }
}

proptest! {
    #[test]
    fn money_is_read_back_as_written(amount in 0u64..1 << 60) {
        prop_assert_eq!(nanos(&usd(amount)), amount);
    }
}

const OWN: &str = r#"
    [[price]]
    model = "gpt-5.5"
    from = "2026-11-01"
    source = "contract"
    input = "4"
    output = "20"
    [[discount]]
    models = "*"
    from = "2026-11-10"
    percent = "10"
    [[discount]]
    models = "gpt-6*"
    from = "2026-11-20"
    percent = "12.5"
"#;

#[test]
fn an_operators_rows_lie_over_the_built_in_ones() {
    let table = PriceTable::parse(OWN).unwrap();
    let cost = |model: &str, day: Date| {
        let cost = table.cost(model, None, day, &usage(1_000_000, 0, 0, 0)).unwrap();
        usd(cost.nanos)
    };
    // A price change never prices anew what has passed.
    assert_eq!(cost("gpt-5.5", date(2026, 10, 31)), "10.0000");
    assert_eq!(cost("gpt-5.5", date(2026, 11, 9)), "4.0000");
    assert_eq!(cost("gpt-5.5", date(2026, 11, 10)), "3.6000");
    assert_eq!(cost("gpt-4.1", date(2026, 11, 9)), "2.0000");
    assert_eq!(cost("gpt-6-luna", date(2026, 11, 22)), "0.1750");
    let alone = PriceTable::parse(&format!("builtin = false\n{OWN}")).unwrap();
    assert!(alone.row("gpt-4.1", TODAY).is_none());
}

#[test]
fn pictures_sound_and_searches_are_charged_apart() {
    let other = |other: Other| Usage { other, ..usage(100, 0, 0, 100) };
    let pictures = Other { image_input_tokens: 60, image_output_tokens: 100, ..Other::default() };
    // 40 × 5 + 60 × 10 + 100 × 40 micro-dollars.
    check("gpt-image-1", None, other(pictures), Some("0.0048"));
    let search = Other { web_searches: 2, ..Other::default() };
    check("gpt-5.5", None, other(search), Some("0.0235"));
    check("o3-mini", None, other(search), None);
    let seconds =
        Usage { other: Other { audio_ms: 12_500, ..Other::default() }, ..Usage::default() };
    check("whisper-1", None, seconds, Some("0.00125"));
}

#[test]
fn what_is_wrong_with_a_discount_is_said() {
    let wrong =
        "[[discount]]\nmodels = \"*\"\nfrom = \"2026-01-01\"\npercent = \"120\"\nwhy = \"x\"";
    let problems = PriceTable::parse(wrong).unwrap_err().problems;
    let expected =
        ["line 5: `why` is unknown", "line 4: `percent` is no share such as \"12.5\", in quotes"];
    assert_eq!(problems, expected);
}
