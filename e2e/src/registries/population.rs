//! The rows of the population registry.

use jiff::civil::{Date, date};
use tokio_postgres::Client;

use super::{
    Amount,
    copy::rows,
    dice::{Dice, day_after},
    words::{COUNTIES, GIVEN, STREETS, SURNAMES, TOWNS},
};

/// Days on which somebody is born: from 1930-01-01.
const BIRTHDAYS: u64 = 33_000;
/// The id of the first person.
const FIRST: u64 = 1000;
const KINDS: &[&str] = &["passport", "identity card", "residence permit", "driving licence"];

/// An Estonian personal code: sex and century, date of birth, serial, check digit.
pub(super) fn personal_code(woman: bool, born: Date, serial: u64) -> String {
    let century = if born.year() < 2000 { 3 } else { 5 } + u8::from(woman);
    let code = format!(
        "{century}{:02}{:02}{:02}{:03}",
        born.year() % 100,
        born.month(),
        born.day(),
        serial % 1000
    );
    let weigh = |weights: [u32; 10]| {
        code.bytes()
            .zip(weights)
            .map(|(digit, weight)| u32::from(digit - b'0') * weight)
            .sum::<u32>()
            % 11
    };
    let check = match weigh([1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) {
        10 => weigh([3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 10,
        rest => rest,
    };
    format!("{code}{check}")
}

/// When person `n` (from 0) was born, and the serial number that makes the code of that day unique.
pub(super) fn birth(n: u64) -> (Date, u64) {
    (day_after(date(1930, 1, 1), n % BIRTHDAYS), n / BIRTHDAYS)
}

fn address(dice: &mut Dice) -> String {
    let flat = if dice.chance(60) {
        (1 + dice.below(90)).to_string()
    } else {
        String::new()
    };
    format!(
        "(\"{}\",{}{},{flat},{})",
        dice.pick(STREETS),
        1 + dice.below(120),
        dice.pick(&["", "a", "b", "-2"]),
        10_000 + dice.below(80_000)
    )
}

fn ip(dice: &mut Dice) -> String {
    format!("10.{}.{}.{}", dice.below(256), dice.below(256), dice.below(256))
}

pub(super) async fn load(client: &Client, amount: &Amount) -> anyhow::Result<()> {
    let seed = amount.seed;
    let persons = amount.rows(60_000);
    let households = amount.rows(18_000);
    load_persons(client, seed, persons, households).await?;
    rows(
        client,
        "population.households (id, head_id, address, formed, income, shares)",
        seed,
        households,
        |n, dice, row| {
            row.plain(n + 1)
                .plain(FIRST + n % persons)
                .plain(address(dice))
                .plain(dice.day(date(1990, 1, 1), 13_000));
            row.maybe(
                dice.chance(90)
                    .then(|| format!("{}.{:02}", dice.below(90_000), dice.below(100))),
            );
            row.plain(dice.pick(&["{1}", "{0.5,0.5}", "{0.3333,0.6667}", "{}"]));
        },
    )
    .await?;
    rows(
        client,
        "population.\"Elukohad\" (id, county, person_id, address, period, place, registered_at)",
        seed,
        amount.rows(90_000),
        |n, dice, row| {
            let from = dice.day(date(1992, 1, 1), 12_000);
            let until = if dice.chance(50) {
                day_after(from, 1 + dice.below(4000)).to_string()
            } else {
                String::new()
            };
            row.plain(100 + n * 7)
                .plain(dice.pick(COUNTIES))
                .plain(FIRST + dice.below(persons))
                .plain(address(dice));
            row.plain(format_args!("[{from},{until})"));
            row.plain(format_args!(
                "({}.{:06},{}.{:06})",
                57 + dice.below(3),
                dice.below(1_000_000),
                22 + dice.below(6),
                dice.below(1_000_000)
            ));
            row.plain(dice.moment(from, 30));
        },
    )
    .await?;
    load_documents(client, seed, persons, amount).await?;
    load_events(client, seed, persons, amount).await
}

async fn load_persons(client: &Client, seed: u64, persons: u64, households: u64) -> anyhow::Result<()> {
    let columns = "population.persons (id, personal_code, given_names, \"Surname\", \"Õpitase\", born, died, household_id, contact, heights, features, updated_at)";
    rows(client, columns, seed, persons, |n, dice, row| {
        let (born, serial) = birth(n);
        let (given, second, surname) = (dice.pick(GIVEN), dice.pick(GIVEN), dice.pick(SURNAMES));
        row.plain(FIRST + n)
            .plain(personal_code(dice.chance(52), born, serial));
        row.plain(if dice.chance(30) {
            format!("{{{given},{second}}}")
        } else {
            format!("{{{given}}}")
        });
        row.text(surname)
            .maybe(dice.chance(70).then(|| dice.below(9)))
            .plain(born);
        row.maybe(dice.chance(8).then(|| dice.day(date(2020, 6, 1), 2300)));
        row.maybe(dice.chance(80).then(|| 1 + dice.below(households)));
        if dice.chance(60) {
            row.plain(format_args!(
                "({given}.{}@näide.ee,\"{{+372 5{:07},\\\\\"+372 6{:06}\\\\\"}}\",)",
                dice.below(1000),
                dice.below(10_000_000),
                dice.below(1_000_000)
            ));
        } else {
            row.null();
        }
        row.maybe(
            dice.chance(20)
                .then(|| format!("{{[{}.5,{}]}}", 140 + dice.below(20), 165 + dice.below(30))),
        );
        row.plain(if dice.chance(10) {
            format!(
                "eyes=>{}, \"blood type\"=>NULL",
                dice.pick(&["blue", "grey", "hall"])
            )
        } else {
            String::new()
        });
        row.plain(dice.moment(date(2020, 1, 1), 2400));
    })
    .await?;
    Ok(())
}

async fn load_documents(client: &Client, seed: u64, persons: u64, amount: &Amount) -> anyhow::Result<()> {
    let count = amount.rows(75_000);
    // A loss names a document, so what a document is called has to follow from its number alone.
    let named = |n: u64| {
        let mut dice = Dice::new(seed, "name of a document", n);
        (
            format!("K{n:08}"),
            dice.day(date(1998, 1, 1), 12_200),
            dice.pick(KINDS),
        )
    };
    rows(
        client,
        "population.documents (number, kind, person_id, issued, validity, chip, photo, fee, issued_by)",
        seed,
        count,
        |n, dice, row| {
            let (number, issued, kind) = named(n);
            row.plain(number)
                .plain(kind)
                .plain(FIRST + dice.below(persons))
                .plain(issued);
            row.plain(dice.pick(&["10 years", "5 years", "1 year 6 mons", "90 days"]));
            row.maybe(dice.chance(70).then(|| dice.uuid()));
            if dice.chance(40) {
                let length = 200 + usize::try_from(dice.below(300)).unwrap_or(0);
                row.bytes(&dice.bytes(length));
            } else {
                row.null();
            }
            row.plain(format_args!("{}.{:02}", dice.below(90), dice.below(100)))
                .maybe(dice.chance(80).then(|| ip(dice)));
        },
    )
    .await?;
    rows(
        client,
        "population.document_losses (number, issued, kind, lost, told)",
        seed,
        amount.rows(4000).min(count),
        |n, dice, row| {
            let (number, issued, kind) = named(n);
            row.plain(number)
                .plain(issued)
                .plain(kind)
                .plain(dice.moment(issued, 900));
            row.plain(format_args!(
                "{:02}:{:02}:00+{:02}",
                dice.below(24),
                dice.below(60),
                dice.below(4)
            ));
        },
    )
    .await?;
    rows(
        client,
        "population.guardianships (ward_id, guardian_id, period, decision)",
        seed,
        amount.rows(3000).min(persons - 1),
        |n, dice, row| {
            let from = dice.day(date(2000, 1, 1), 9000);
            row.plain(FIRST + n)
                .plain(FIRST + n + 1)
                .plain(format_args!("[{from},{})", day_after(from, 365)))
                .plain(dice.uuid());
        },
    )
    .await?;
    Ok(())
}

async fn load_events(client: &Client, seed: u64, persons: u64, amount: &Amount) -> anyhow::Result<()> {
    let mut from = 1;
    let mut ids = |count| {
        let first = from;
        from += count;
        first
    };
    let count = amount.rows(18_000);
    let first = ids(count);
    rows(
        client,
        "population.life_events (id, person_id, happened, place)",
        seed,
        count,
        |n, dice, row| {
            row.plain(first + n)
                .plain(FIRST + dice.below(persons))
                .plain(dice.day(date(1950, 1, 1), 27_000))
                .text(dice.pick(TOWNS));
        },
    )
    .await?;
    let count = amount.rows(40_000).min(persons);
    let first = ids(count);
    rows(client, "population.\"Sünnid\" (id, person_id, happened, place, recorded_by, recorded_from, mother_id, father_id, grams)", seed, count, |n, dice, row| {
        row.plain(first + n).plain(FIRST + n).plain(birth(n).0).text(dice.pick(TOWNS)).text(dice.pick(GIVEN)).plain(ip(dice));
        // A parent is an earlier row: kinship has no circle.
        row.maybe((n > 0).then(|| FIRST + dice.below(n.max(1)))).maybe((n > 0 && dice.chance(85)).then(|| FIRST + dice.below(n.max(1))));
        row.plain(2200 + dice.below(2600));
    })
    .await?;
    let count = amount.rows(9000);
    let first = ids(count);
    rows(
        client,
        "population.\"Abielud\" (id, person_id, happened, place, spouse_id, contract)",
        seed,
        count,
        |n, dice, row| {
            row.plain(first + n)
                .plain(FIRST + dice.below(persons))
                .plain(dice.day(date(1950, 1, 1), 27_000))
                .text(dice.pick(TOWNS));
            row.plain(FIRST + dice.below(persons));
            row.text(&format!(
                "<leping nr=\"{n}\"><osa>{}</osa><märkus>&lt;ühisvara&gt;\n</märkus></leping>",
                dice.below(100)
            ));
        },
    )
    .await?;
    let count = amount.rows(8000).min(persons);
    let first = ids(count);
    rows(
        client,
        "population.\"Surmad\" (id, person_id, happened, place, recorded_by, recorded_from, cause)",
        seed,
        count,
        |n, dice, row| {
            row.plain(first + n)
                .plain(FIRST + n)
                .plain(dice.day(date(2020, 1, 1), 2400))
                .text(dice.pick(TOWNS))
                .text(dice.pick(SURNAMES));
            row.plain(ip(dice))
                .maybe(dice.chance(60).then(|| dice.pick(&["vanadus", "I25.1", "C34.9"])));
        },
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_personal_code_has_the_check_digit_that_the_state_gives_it() {
        // The example of the Estonian standard EVS 585.
        assert_eq!(personal_code(false, date(1976, 5, 3), 29), "37605030299");
    }
}
