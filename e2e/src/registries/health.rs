//! The rows of the health registry.

use std::fmt::Write as _;

use jiff::civil::date;
use tokio_postgres::Client;

use super::{
    Amount,
    copy::rows,
    dice::{Dice, day_after},
    population::{birth, personal_code},
    words::{DIAGNOSES, DRUGS, FINDINGS, GIVEN, SURNAMES, TOWNS},
};

/// The length of the value nobody expects: one person's genome.
const GENOME: usize = 100 << 20;
const QUARTETS: &[&str] = &[
    "ACGT", "TTAG", "GGCA", "CATG", "AAAT", "TGCA", "CCGT", "GATC", "ATAT", "CGCG", "TTTA", "GTAC", "CAAG",
    "AGGT", "TCTC", "GCAA",
];
const WARDS: u64 = 40;

fn patient(seed: u64, n: u64) -> String {
    Dice::new(seed, "patient", n).uuid()
}

fn ward(n: u64) -> String {
    format!(
        "{}{:02}",
        ["KI", "SI", "ÕN", "LA"][usize::try_from(n % 4).unwrap_or(0)],
        n
    )
}

fn diagnoses(dice: &mut Dice) -> String {
    if dice.chance(25) {
        format!("{{{},{}}}", dice.pick(DIAGNOSES), dice.pick(DIAGNOSES))
    } else {
        format!("{{{}}}", dice.pick(DIAGNOSES))
    }
}

pub(super) async fn load(client: &Client, amount: &Amount) -> anyhow::Result<()> {
    let seed = amount.seed;
    let patients = amount.rows(30_000);
    load_places(client, seed).await?;
    let columns =
        "health.patients (id, personal_code, name, alias, born, blood, kg, metres, allergies, flags, notes)";
    rows(client, columns, seed, patients, |n, dice, row| {
        let (born, serial) = birth(n);
        row.plain(patient(seed, n))
            .plain(personal_code(dice.chance(52), born, serial));
        row.text(&format!("{} {}", dice.pick(GIVEN), dice.pick(SURNAMES)))
            .maybe(dice.chance(5).then(|| format!("Patsient {n}")));
        row.plain(dice.moment(born, 1).trim_end_matches("+00"))
            .plain(dice.pick(&["0+ ", "A+ ", "B- ", "AB+"]));
        row.plain(format_args!("{}.{}", 45 + dice.below(60), dice.below(10)))
            .plain(format_args!("1.{:02}", 45 + dice.below(50)));
        row.maybe(dice.chance(15).then(|| diagnoses(dice)))
            .plain(format_args!("{:0width$b}", dice.below(8), width = 3));
        row.maybe(
            dice.chance(20)
                .then(|| format!("doonor=>{}, keel=>et", dice.chance(50))),
        );
    })
    .await?;
    load_encounters(client, seed, patients, amount).await?;
    load_prescriptions(client, seed, patients, amount).await?;
    load_observations(client, seed, patients, amount).await?;
    if amount.large_values {
        rows(
            client,
            "health.genomes (patient_id, sequence)",
            seed,
            1,
            |_, dice, row| {
                // Four bases at a time: one by one takes seconds in a debug build.
                let mut bases = String::with_capacity(GENOME);
                for byte in dice.bytes(GENOME / 4) {
                    bases.push_str(QUARTETS[usize::from(byte & 15)]);
                }
                row.plain(patient(seed, 0)).plain(bases);
            },
        )
        .await?;
    }
    Ok(())
}

async fn load_places(client: &Client, seed: u64) -> anyhow::Result<()> {
    rows(
        client,
        "health.\"WARDS\" (code, beds)",
        seed,
        WARDS,
        |n, dice, row| {
            row.plain(ward(n)).plain(4 + dice.below(40));
        },
    )
    .await?;
    rows(
        client,
        "health.doctors (id, name, clinic_id)",
        seed,
        800,
        |n, dice, row| {
            row.plain(n)
                .text(&format!("dr {} {}", dice.pick(GIVEN), dice.pick(SURNAMES)))
                .plain(dice.below(60));
        },
    )
    .await?;
    rows(
        client,
        "health.clinics (id, name, region_id)",
        seed,
        60,
        |n, dice, row| {
            row.plain(n)
                .text(&format!("{} {n}. kliinik", dice.pick(TOWNS)))
                .plain(dice.below(15));
        },
    )
    .await?;
    rows(
        client,
        "health.regions (id, name, chief_id)",
        seed,
        15,
        |n, dice, row| {
            row.plain(n).text(dice.pick(TOWNS)).plain(dice.below(800));
        },
    )
    .await?;
    Ok(())
}

async fn load_encounters(client: &Client, seed: u64, patients: u64, amount: &Amount) -> anyhow::Result<()> {
    let columns = "health.encounters (id, patient_id, began, lasted, urgency, ward, diagnoses, summary, found_by, device, network)";
    rows(client, columns, seed, amount.rows(60_000), |n, dice, row| {
        let words: Vec<_> = (0..8 + dice.below(25)).map(|_| dice.pick(FINDINGS)).collect();
        let lexemes = words
            .iter()
            .zip(1..)
            .fold(String::new(), |mut all, (word, place)| {
                write!(all, "'{word}':{place} ").expect("a string takes every write");
                all
            });
        row.plain(7 + n * 3)
            .plain(patient(seed, dice.below(patients)))
            .plain(dice.moment(date(2023, 9, 1), 1170));
        row.plain(format_args!(
            "{} days {:02}:{:02}:00",
            dice.below(3),
            dice.below(24),
            dice.below(60)
        ));
        row.plain(dice.pick(&["planned", "planned", "urgent", "emergency", "väga kiire"]));
        row.maybe(dice.chance(70).then(|| ward(dice.below(WARDS))))
            .plain(diagnoses(dice));
        row.text(&words.join(" ")).plain(lexemes.trim_end());
        row.maybe(dice.chance(30).then(|| {
            format!(
                "08:00:2b:{:02x}:{:02x}:{:02x}",
                dice.below(256),
                dice.below(256),
                dice.below(256)
            )
        }));
        row.maybe(
            dice.chance(30)
                .then(|| format!("10.{}.{}.0/24", dice.below(256), dice.below(256))),
        );
    })
    .await?;
    rows(
        client,
        "health.beds (ward, bed, patient, occupied)",
        seed,
        amount.rows(1200),
        |n, dice, row| {
            let from = day_after(date(2025, 1, 1), n / 40);
            row.plain(ward(n % WARDS))
                .plain(1)
                .maybe(dice.chance(90).then(|| patient(seed, dice.below(patients))));
            row.plain(format_args!(
                "[{from} 00:00:00+00,{} 00:00:00+00)",
                day_after(from, 1)
            ));
        },
    )
    .await?;
    Ok(())
}

async fn load_prescriptions(
    client: &Client,
    seed: u64,
    patients: u64,
    amount: &Amount,
) -> anyhow::Result<()> {
    let columns = "health.prescriptions (number, patient_id, drug, doses, valid, document, price, redeemed, signature, pharmacy, \"retsepti öö\")";
    rows(client, columns, seed, amount.rows(40_000), |n, dice, row| {
        let (drug, from) = (dice.pick(DRUGS), dice.day(date(2022, 1, 1), 1700));
        row.plain(n + 100_000).plain(patient(seed, dice.below(patients))).plain(drug);
        row.plain(format_args!("{{\"({}.5,mg,\\\\\"{} hours\\\\\")\"}}", 1 + dice.below(500), 4 + dice.below(20)));
        row.plain(format_args!("{{[{from},{})}}", day_after(from, 30 + dice.below(300))));
        let document = format!(
            "<retsept xmlns=\"urn:ee:retsept\" nr=\"{n}\"><ravim>{drug}</ravim><kogus ühik=\"tk\">{}</kogus><!-- {} & < --></retsept>",
            10 + dice.below(90),
            dice.pick(FINDINGS)
        );
        row.text(&document).plain(format_args!("{}.{:03}", dice.below(200), dice.below(1000)));
        row.maybe(dice.chance(50).then(|| format!("{{\"{}\"}}", dice.moment(from, 60))));
        if dice.chance(50) {
            row.bytes(&dice.bytes(64));
        } else {
            row.null();
        }
        row.maybe(dice.chance(50).then(|| format!("192.0.{}.0/24", dice.below(256))));
        row.maybe(dice.chance(10).then(|| format!("{{\"b\": {},   \"a\": null}}", dice.below(10))));
    })
    .await?;
    Ok(())
}

async fn load_observations(client: &Client, seed: u64, patients: u64, amount: &Amount) -> anyhow::Result<()> {
    const CODES: &[(&str, &str, &str)] = &[
        ("8867-4", "Heart rate", "/min"),
        ("8310-5", "Body temperature", "Cel"),
        ("2339-0", "Glucose", "mg/dL"),
        ("718-7", "Hemoglobin", "g/dL"),
    ];
    let columns = "health.observations (id, patient_id, taken, resource, value, precision_, pressure)";
    rows(client, columns, seed, amount.rows(75_000), |n, dice, row| {
        let (code, display, unit) = dice.pick(CODES);
        let value = format!("{}.{}", 30 + dice.below(150), dice.below(1000));
        let taken = dice.moment(date(2023, 1, 1), 1400);
        row.plain(n + 1).plain(patient(seed, dice.below(patients))).plain(&taken);
        row.text(&format!(
            "{{\"resourceType\":\"Observation\",\"status\":\"{}\",\"code\":\"{code}\",\"display\":\"{display}\",\"effective\":\"{taken}\",\
             \"value\":{{\"quantity\":{value},\"unit\":\"{unit}\"}},\"note\":[\"{} {}\",null,{{\"\\\"õ\\\"\":\"\\u00e4\\n\"}}],\"device\":\"{}\"}}",
            dice.pick(&["final", "amended", "preliminary"]),
            dice.pick(FINDINGS),
            dice.pick(FINDINGS),
            dice.uuid(),
        ));
        row.plain(&value).plain(dice.pick(&["0.1", "1e-7", "3.4028235e38", "NaN"]));
        row.maybe(dice.chance(20).then(|| format!("[{},{})", 60 + dice.below(30), 100 + dice.below(80))));
    })
    .await?;
    Ok(())
}
