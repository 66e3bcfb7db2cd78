//! Everybody who compares exactly answers exactly.

use super::vectors::tests::made_up;
use super::*;

const DIMS: usize = 32;

/// Every shape that answers finds all rows that have to be found, for every query.
fn assert_all_exact(side: &mut dyn Side, vectors: &Vectors) {
    let truth = Truth::of(vectors, K, &Case::ALL);
    let queries: Vec<usize> = (0..vectors.queries.len()).collect();
    for shape in side.shapes() {
        let answers = side.ask(shape, &queries).unwrap();
        assert_eq!(answers.len(), queries.len());
        for (query, answer) in queries.iter().zip(&answers) {
            assert_eq!(answer.rows.is_empty(), !shape.answers, "{}", shape.name);
            if shape.answers {
                let n_found = truth.n_found(vectors, shape.case, *query, &answer.rows);
                let n_expected = truth.n_expected(shape.case, *query);
                assert_eq!(
                    (n_found, answer.rows.len()),
                    (n_expected, n_expected),
                    "{}",
                    shape.name
                );
            }
        }
    }
}

#[test]
fn memtide_finds_the_nearest_rows_with_and_without_a_filter() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = made_up(DIMS).vectors(DIMS, 900, 1).unwrap();
    let mut side = Ours::fill(folder.path(), &vectors, Rows::new(1, 900)).unwrap();
    assert_all_exact(&mut side, &vectors);
}

#[test]
fn tables_of_sqlite_vec_find_the_nearest_rows() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = made_up(DIMS).vectors(DIMS, 200, 1).unwrap();
    assert_all_exact(&mut SqliteVec::fill(folder.path(), &vectors).unwrap(), &vectors);
}

#[test]
fn statements_of_the_python_service_find_the_nearest_rows_and_note_it() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = made_up(DIMS).vectors(DIMS, 200, 1).unwrap();
    let mut side = PythonService::fill(folder.path(), &vectors, Rows::new(1, 200)).unwrap();
    assert_all_exact(&mut side, &vectors);
    drop(side);
    let conn = rusqlite::Connection::open(folder.path().join("sqlite_vec.db")).unwrap();
    let n_noted: i64 = conn
        .query_row("SELECT sum(metadata ->> 'access_count') FROM memories", [], |row| row.get(0))
        .unwrap();
    assert_eq!(n_noted, 10 * 12, "ten memories for each of twelve queries");
}

#[test]
fn rows_have_texts_of_their_own_and_few_the_tag() {
    let rows: Vec<(String, Vec<String>)> = Rows::new(4, 640).collect();
    let distinct: BTreeSet<&str> = rows.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!((rows.len(), distinct.len()), (640, 640));
    let n_tagged = rows.iter().filter(|(_, tags)| tags.iter().any(|tag| tag == TAG)).count();
    assert_eq!(n_tagged, 10);
    assert_eq!((0..640).filter(|row| Case::Late.passes(*row, 640)).count(), 21);
}

#[test]
fn everybody_is_asked_in_turns_and_told_of() {
    let vectors = made_up(DIMS).vectors(DIMS, 200, 1).unwrap();
    let truth = Truth::of(&vectors, K, &Case::ALL);
    let folder = tempfile::tempdir().unwrap();
    let mut sides: Vec<Box<dyn Side>> = vec![
        Box::new(Ours::fill(folder.path(), &vectors, Rows::new(1, 200)).unwrap()),
        Box::new(Bandwidth::new(200, DIMS)),
        Box::new(SqliteVec::fill(folder.path(), &vectors).unwrap()),
    ];
    let measured = measure::all(&mut sides, &vectors, &truth, 40).unwrap();
    assert_eq!(measured.len(), 5 + 1 + 3);
    let mut report = Report::new("search --against", "made up", 1);
    for one in &measured {
        assert_eq!(one.times.len(), 40, "{}", one.shape.name);
        assert_eq!(one.n_lacking, 0);
        one.tell(&mut report, 200, DIMS);
    }
    verdict::targets(&mut report, &measured, 200, DIMS);
    assert_eq!(report.timings.len(), 9);
    // At this size only what is found has a bound.
    assert_eq!(report.targets.len(), 4);
    assert!(report.targets.iter().all(|target| target.is_met), "{:?}", report.targets);
}
