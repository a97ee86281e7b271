use super::Question;
use crate::admin::audit::column::COLUMNS;

fn refused(query: &str) -> String {
    let Err(error) = Question::read(query) else { panic!("{query} was read") };
    format!("{error:#}")
}

#[test]
fn only_questions_are_asked() {
    for query in [
        "delete from records",
        "insert into records (id) values ('x')",
        "update records set user = 'x'",
        "drop table records",
        "create table other (a)",
        "create temp table other (a)",
        "attach database '/tmp/other.db' as other",
        "attach database ':memory:' as other",
        "detach database main",
        "vacuum into '/tmp/copy.db'",
        "pragma cache_size",
        "begin",
        "reindex",
        "analyze",
        "explain query plan delete from records",
        "select load_extension('x')",
        "select 1; select 2",
        "",
        "-- nothing",
        "select nothing from records",
        "select * from nothing",
    ] {
        assert!(!refused(query).is_empty(), "{query}");
    }
}

#[test]
fn a_query_that_is_wrong_says_where() {
    assert!(refused("select usr from records").contains("no such column: usr"));
    assert!(refused("selec 1").contains("near \"selec\": syntax error"));
}

#[test]
fn only_what_a_query_reads_is_filled_in() {
    let reads = |query: &str| {
        let question = Question::read(query).unwrap();
        question.reads.iter().map(|column| column.name).collect::<Vec<_>>()
    };
    assert_eq!(reads("select user, sum(cost_usd) from records group by 1"), ["user", "cost_usd"]);
    assert_eq!(reads("select count(*) from records where day > '2026'"), ["day"]);
    assert_eq!(reads("select count(*) from records"), ["day"]);
    assert_eq!(reads("select * from records").len(), COLUMNS.len());
    assert_eq!(reads("with r as (select model m from records) select m from r"), ["model"]);
}

#[test]
fn columns_of_an_answer_have_names_of_their_own() {
    let question = Question::read("select id, id, usd(1) as id, 2 as x from records").unwrap();
    assert_eq!(question.columns, ["id", "id:1", "id:2", "x"]);
}
