//! The words of the form that was used: a refusal of a command line names flags, one of a manifest names keys, whoever has worded it.

use crate::api::problem::Problem;

/// Keys of manifests and the flags that set them, where they are not called alike.
const WORDS: [(&str, &str); 22] = [
    ("udpPort", "--udp-port"),
    ("iKnowThisIsClear", "--i-know-this-is-clear"),
    ("publicKey", "--foreign-key"),
    ("tunnelAddress", "--tunnel-address"),
    ("maxHops", "--max-hops"),
    ("routers", "--router"),
    ("ips", "--ip"),
    ("allowed", "--allowed"),
    ("nodes", "--nodes"),
    ("learning", "--learning"),
    ("flood", "--flood"),
    ("gateway", "--gateway"),
    ("cidr", "--cidr"),
    ("vni", "--vni"),
    ("mtu", "--mtu"),
    ("fixed", "--mtu"),
    ("oversize", "--oversize"),
    ("vlan", "--vlan"),
    ("mac", "--mac"),
    ("interface", "--interface"),
    ("underlay", "--underlay"),
    ("between", "--between"),
];

/// For who has typed flags.
pub(super) fn of_flags(problem: Problem) -> Problem {
    each(problem, |text| {
        WORDS.iter().fold(text.to_owned(), |text, (key, flag)| {
            let said = text.replace(&format!("'{key}'"), flag);
            // A key with its value is a flag with its value; the confirmation has none.
            let said = said.replace(&format!("{key}: true"), flag);
            if alone(key) { said.replace(&format!("{key}: "), &format!("{flag} ")) } else { said }
        })
    })
}

/// For who has written a manifest. A command line that is to be typed stays as it is.
pub(super) fn of_keys(problem: Problem) -> Problem {
    each(problem, |text| {
        if text.contains("meshctl ") {
            return text.to_owned();
        }
        WORDS.iter().fold(text.to_owned(), |text, (key, flag)| {
            text.split(' ')
                .map(|word| if word == *flag { format!("'{key}'") } else { word.to_owned() })
                .collect::<Vec<_>>()
                .join(" ")
        })
    })
}

/// Is this a word of its own, which no sentence has before a colon?
fn alone(key: &str) -> bool {
    key.chars().any(|c| c.is_ascii_uppercase()) || key == "learning"
}

fn each(mut problem: Problem, reword: impl Fn(&str) -> String) -> Problem {
    problem.what = reword(&problem.what);
    problem.notes.iter_mut().chain(&mut problem.help).for_each(|text| *text = reword(text));
    problem
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::problem::Exit;

    fn help(reword: fn(Problem) -> Problem, text: &str) -> String {
        reword(Problem::new("M0302", Exit::Invalid, "x").help(text)).help.remove(0)
    }

    #[test]
    fn who_types_flags_reads_flags_and_who_writes_manifests_reads_keys() {
        for (said, flags) in [
            ("leave 'udpPort' out to get a free one", "leave --udp-port out to get a free one"),
            (
                "if that is what you want, set iKnowThisIsClear: true",
                "if that is what you want, set --i-know-this-is-clear",
            ),
            (
                "leave 'nodes' out (take them out: --unset nodes), or set learning: local",
                "leave --nodes out (take them out: --unset nodes), or set --learning local",
            ),
            ("--mtu auto (in a manifest: leave mtu.fixed out)", "--mtu auto (in a manifest: leave mtu.fixed out)"),
            ("did you mean 'blue'?", "did you mean 'blue'?"),
            ("the MTU: 1400", "the MTU: 1400"),
        ] {
            assert_eq!(help(of_flags, said), flags);
        }
        for (said, keys) in [
            ("take it out of --ip and --allowed", "take it out of 'ips' and 'allowed'"),
            ("meshctl network set blue --mtu 1390", "meshctl network set blue --mtu 1390"),
            ("the same command with --yes does it", "the same command with --yes does it"),
        ] {
            assert_eq!(help(of_keys, said), keys);
        }
    }
}
