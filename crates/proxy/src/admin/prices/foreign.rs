//! Price tables of other projects, read as data: `LiteLLM`'s and models.dev's JSON.

use anyhow::Result;
use jiff::civil::Date;
use serde_json::{Map, Value};
use wire::price::{PriceTable, Rates, Row, per_million};

use super::New;
use crate::config::Wrong;

/// What of a foreign table is of use here.
#[derive(Debug)]
pub struct Imported {
    /// Rows that differ from what is in force.
    pub rows: Vec<New>,
    /// How many of OpenAI's models it names a price for.
    pub found: usize,
    /// Of them, those whose price is what is in force.
    pub known: usize,
}

/// Names of rates: here, and in `LiteLLM`'s form.
const LITELLM: [(&str, &str); 4] = [
    ("input", "input_cost_per_token"),
    ("cached_input", "cache_read_input_token_cost"),
    ("cache_write", "cache_creation_input_token_cost"),
    ("output", "output_cost_per_token"),
];
/// Tiers: here, and the ending of their names in `LiteLLM`'s form.
const TIERS: [(&str, &str); 4] = [
    ("long", "_above_272k_tokens"),
    ("flex", "_flex"),
    ("priority", "_priority"),
    ("batch", "_batches"),
];
/// Names of rates: here, and in models.dev's form.
const MODELS_DEV: [(&str, &str); 4] = [
    ("input", "input"),
    ("cached_input", "cache_read"),
    ("cache_write", "cache_write"),
    ("output", "output"),
];

/// Reads a table in either form; rows that differ from what is in force on a day are to be added from
/// that day on.
pub fn read(json: &str, name: &str, table: &PriceTable, day: Date) -> Result<Imported> {
    let wrong = |what: String| Wrong(format!("{name}: {what}"));
    let document: Value = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
    let models = document.get("openai").and_then(|openai| openai.get("models"));
    let rows = match (models.and_then(Value::as_object), document.as_object()) {
        (Some(models), _) => {
            models.iter().filter_map(|(model, of)| models_dev(model, of)).collect()
        }
        (None, Some(models)) => litellm(models),
        (None, None) => Vec::new(),
    };
    if rows.is_empty() {
        let what = "no price of OpenAI's is in it: LiteLLM's model_prices_and_context_window.json and models.dev's api.json are read";
        return Err(wrong(what.to_owned()).into());
    }
    let found = rows.len();
    let mut fresh = Vec::new();
    for row in rows {
        let known = table.row(&row.model, day).filter(|known| known.model == row.model);
        if known.is_none_or(|known| !is_same(known, &row)) {
            let source = format!("imported from {name}");
            fresh.push(New { from: Some(day), read: Some(day), source, ..row });
        }
    }
    Ok(Imported { known: found - fresh.len(), rows: fresh, found })
}

fn litellm(models: &Map<String, Value>) -> Vec<New> {
    let ours = models.iter().filter(|(name, model)| {
        let is_openai = model.get("litellm_provider").is_some_and(|of| of == "openai");
        // Names with a slash are prices of one size of picture, or of a fine-tuned model.
        is_openai && !name.contains(['/', ':'])
    });
    let rows = ours.filter_map(|(name, model)| {
        let rates = |ending: &str| {
            let rate = |(ours, theirs): (&'static str, &str)| {
                Some((ours, rate(model.get(format!("{theirs}{ending}"))?)?))
            };
            LITELLM.into_iter().filter_map(rate).collect::<Vec<_>>()
        };
        let tiers = TIERS.into_iter().map(|(tier, ending)| (tier, rates(ending)));
        row(
            name,
            rates(""),
            tiers.collect(),
            [model.get("max_input_tokens"), model.get("max_output_tokens")],
        )
    });
    rows.collect()
}

fn models_dev(name: &str, model: &Value) -> Option<New> {
    let cost = model.get("cost")?;
    let rates = |of: &Value| {
        let rate = |(ours, theirs): (&'static str, &str)| Some((ours, millions(of.get(theirs)?)?));
        MODELS_DEV.into_iter().filter_map(rate).collect::<Vec<_>>()
    };
    let limit = model.get("limit");
    let counts = ["input", "output"].map(|name| limit.and_then(|limit| limit.get(name)));
    let counts = [counts[0].or_else(|| limit?.get("context")), counts[1]];
    row(name, rates(cost), Vec::new(), counts)
}

/// A row, where it has what every row needs.
fn row(
    name: &str,
    rates: Vec<(&'static str, String)>,
    tiers: Vec<(&'static str, Vec<(&'static str, String)>)>,
    [window, output]: [Option<&Value>; 2],
) -> Option<New> {
    let is_whole = |rates: &[(&str, String)]| {
        ["input", "output"].iter().all(|name| rates.iter().any(|(known, _)| known == name))
    };
    let count = |name, value: Option<&Value>| Some((name, value?.as_u64()?));
    let counts = [count("context_window", window), count("max_output_tokens", output)];
    is_whole(&rates).then(|| New {
        model: name.to_owned(),
        rates,
        tiers: tiers.into_iter().filter(|(_, rates)| is_whole(rates)).collect(),
        counts: counts.into_iter().flatten().collect(),
        ..New::default()
    })
}

/// Dollars a token as dollars per million tokens.
fn rate(value: &Value) -> Option<String> {
    decimal(value.as_f64()? * 1e6)
}

/// Dollars per million tokens.
fn millions(value: &Value) -> Option<String> {
    decimal(value.as_f64()?)
}

/// To a millionth of a dollar, which no price is finer than; what is no price is left out.
fn decimal(dollars: f64) -> Option<String> {
    let is_price = dollars.is_finite() && (0.0..1e6).contains(&dollars);
    let text = format!("{dollars:.6}");
    is_price.then(|| text.trim_end_matches('0').trim_end_matches('.').to_owned())
}

/// Whether a row says of every rate what is in force. What the other table does not say is no
/// difference.
fn is_same(known: &Row, row: &New) -> bool {
    let agrees = |rates: Option<&Rates>, said: &[(&str, String)]| {
        said.iter().all(|(name, rate)| rates.and_then(|of| named(of, name)).as_ref() == Some(rate))
    };
    let tiers = row.tiers.iter().all(|(tier, rates)| {
        let known = match *tier {
            "long" => known.long.as_ref(),
            "flex" => known.flex.as_ref(),
            "priority" => known.priority.as_ref(),
            _ => known.batch.as_ref(),
        };
        // Where ours leaves a rate of the cache out, it follows the input's.
        let said = rates
            .iter()
            .filter(|(name, _)| known.is_none_or(|of| named(of, name).is_some()))
            .cloned();
        agrees(known, &said.collect::<Vec<_>>())
    });
    agrees(Some(&known.standard), &row.rates) && tiers
}

fn named(rates: &Rates, name: &str) -> Option<String> {
    let picos = match name {
        "input" => Some(rates.input_picos),
        "cached_input" => rates.cached_input_picos,
        "cache_write" => rates.cache_write_picos,
        _ => Some(rates.output_picos),
    };
    picos.map(per_million)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use wire::price::PriceTable;

    use super::read;

    fn models(json: &str) -> Vec<(String, String)> {
        let table = PriceTable::builtin();
        let imported = read(json, "theirs.json", &table, date(2026, 11, 26)).unwrap();
        imported.rows.iter().map(|row| (row.model.clone(), row.toml())).collect()
    }

    #[test]
    fn of_litellms_form_only_what_differs_is_taken() {
        let json = r#"{
            "sample_spec": {"litellm_provider": "one of …"},
            "gpt-5.1-codex": {"litellm_provider": "openai", "input_cost_per_token": 1.25e-06,
                "cache_read_input_token_cost": 1.25e-07, "output_cost_per_token": 1e-05},
            "gpt-5.1-codex-mini": {"litellm_provider": "openai", "input_cost_per_token": 2e-07,
                "output_cost_per_token": 2e-06, "input_cost_per_token_flex": 1e-07,
                "output_cost_per_token_flex": 1e-06, "max_output_tokens": 128000},
            "claude": {"litellm_provider": "anthropic", "input_cost_per_token": 1e-06,
                "output_cost_per_token": 1e-06}}"#;
        let expected = "[[price]]\nmodel = \"gpt-5.1-codex-mini\"\nfrom = \"2026-11-26\"\n\
            source = \"imported from theirs.json\"\nread = \"2026-11-26\"\ninput = \"0.2\"\noutput = \"2\"\n\
            flex = { input = \"0.1\", output = \"1\" }\nmax_output_tokens = 128000\n";
        assert_eq!(models(json), [("gpt-5.1-codex-mini".to_owned(), expected.to_owned())]);
    }

    #[test]
    fn of_models_devs_form_too() {
        let json = r#"{"openai": {"id": "openai", "models": {
            "gpt-5-nano": {"cost": {"input": 0.05, "output": 0.4, "cache_read": 0.005}},
            "new": {"cost": {"input": 3, "output": 9}, "limit": {"context": 1000, "output": 10}},
            "free": {"limit": {"context": 1000}}}},
          "other": {"models": {"x": {"cost": {"input": 1, "output": 1}}}}}"#;
        let rows = models(json);
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert!(rows[0].1.contains("input = \"3\"\noutput = \"9\"\ncontext_window = 1000\n"));
    }

    #[test]
    fn what_is_neither_is_said() {
        for json in ["[]", "{}", "{\"openai\": 1}", "nonsense"] {
            let table = PriceTable::builtin();
            assert!(read(json, "x", &table, date(2026, 11, 26)).is_err(), "{json}");
        }
    }
}
