#!/bin/bash
# Measures Hikyaku on both runtimes beside Postfix and Dovecot, in turns in one run, so that noise meets everybody alike.
# usage: turns.sh SCRATCH [TURNS] [PART...]     parts: smtp pop3 storm idle box; all by default
# Needs root and ../shared/bench with its peers installed. Results: a JSON line each in SCRATCH/turns.jsonl, and a table of medians.
set -eu
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
BENCH=$(cd "$ROOT/../shared/bench" && pwd)
[ $# -ge 1 ] || { sed -n '2,4p' "$0"; exit 2; }
SCRATCH=$(mkdir -p "$1" && realpath "$1") TURNS=${2:-3}
shift; [ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- smtp pop3 storm idle box
COUNT=${COUNT:-2000} BOX=${BOX:-100000}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
ML=$SCRATCH/load/release/mailload
[ -x "$ML" ] || CARGO_TARGET_DIR=$SCRATCH/load cargo build --quiet --release --offline --manifest-path "$BENCH/load/rs/Cargo.toml"
OUT=$SCRATCH/turns.jsonl
: >"$OUT"

start() { # NAME -> pid mail smtp imap pop3
    dir=$SCRATCH/$1
    case $1 in
    postfix) "$BENCH/peers/postfix.sh" start "$dir" >&2; smtp=12025 ;;
    dovecot) DOVECOT_PERF=1 "$BENCH/peers/dovecot.sh" start "$dir" >&2; imap=11143 pop3=11110 ;;
    hikyaku-*) "$ROOT/tests/bench/hikyaku.sh" "${1#hikyaku-}" start "$dir" >&2; smtp=13025 imap=13143 pop3=13110 ;;
    esac
    pid=$(cat "$dir/pid") mail=$dir/mail
}
stop() {
    case $1 in
    hikyaku-*) "$ROOT/tests/bench/hikyaku.sh" "${1#hikyaku-}" stop "$SCRATCH/$1" >&2 ;;
    *) "$BENCH/peers/$1.sh" stop "$SCRATCH/$1" >&2 ;;
    esac
}
say() { sed "s/^{/{\"server\":\"$1\",\"part\":\"$2\",\"load1\":$(cut -d' ' -f1 /proc/loadavg),/" | tee -a "$OUT"; }
load() { timeout 240 "$ML" "$@" --pid "$pid" --limit 60 || true; }
gen() { python3 "$BENCH/load/imapbox.py" gen --mail "$mail" "$@" >&2; }

for part in "$@"; do
    turns=$TURNS
    case $part in
    smtp) names='postfix hikyaku-std hikyaku-smol' ;;
    pop3 | storm) names='dovecot hikyaku-std hikyaku-smol' ;;
    idle | box) names='hikyaku-std hikyaku-smol' turns=1 ;;
    esac
    for turn in $(seq "$turns"); do
        for name in $names; do
            start "$name"
            case $part in
            smtp)
                load smtp --port $smtp --count 100 --sessions 4 --mail "$mail" >/dev/null
                for sessions in 1 10 50; do
                    load smtp --port $smtp --count "$COUNT" --sessions $sessions --size 1024 --mail "$mail" | say "$name" "smtp-$sessions"
                done ;;
            pop3)
                [ "$turn" -gt 1 ] || gen --users 301-310 --count 1000 --size 10240
                for sessions in 1 1 10; do
                    load pop3 --port $pop3 --users 10 --first-user 301 --count $((1000 * sessions)) --sessions $sessions | say "$name" "pop3-$sessions"
                done ;;
            storm)
                [ "$turn" -gt 1 ] || gen --users 201-250 --count 200
                load imap-storm --port $imap --users 50 --first-user 201 --count 500 --sessions 10 --fetch none >/dev/null
                load imap-storm --port $imap --users 50 --first-user 201 --count 2000 --sessions 10 --fetch none | say "$name" storm ;;
            idle)
                timeout 400 python3 "$BENCH/load/idle.py" --port $imap --pid "$pid" --count 1000 --smtp-port $smtp | say "$name" idle ;;
            box)
                gen --users 900-900 --count "$BOX"
                timeout 1800 python3 "$BENCH/load/imapbox.py" run --port $imap --pid "$pid" | say "$name" box ;;
            esac
            stop "$name"
        done
    done
done
python3 - "$OUT" <<'PY'
import collections, json, statistics, sys
rows = collections.defaultdict(list)
for line in open(sys.argv[1]):
    row = json.loads(line)
    rows[row["part"], row["server"]].append(row)
for (part, server), all in sorted(rows.items()):
    numbers = {key: round(statistics.median(r[key] for r in all), 3) for key, value in all[0].items() if isinstance(value, (int, float)) and key not in ("port", "load1")}
    print(part, server, json.dumps(numbers))
PY
