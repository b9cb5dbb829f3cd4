#!/usr/bin/env bash
# diffgen budget as a user runs it.
# usage: test_budget.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"
samples=$source/samples/fashion
export DIFFGEN_LEDGER=$work/state/ledger.sqlite

# Nothing spent yet; asking makes no file.
expect 0 budget
is_empty err
says out "data sets  none"
expect 0 budget "$samples"
says out "images            2000"
expect 0 budget "$samples" --json --delta 1e-6
grep -q '"images":2000,.*"delta":1e-0*6.*"exceeded":false.*"runs":\[\]' out || fail "the JSON is not as documented"
[ "$(wc -l <out)" = 1 ] || fail "more than one line of JSON"
[ ! -e state ] || fail "reading made $DIFFGEN_LEDGER"

# Files that are no ledger, places where none can be, images that are not there.
echo "no ledger" >text
expect 65 budget --ledger text
says err "text: not a privacy ledger"
: >empty
expect 65 budget "$samples" --ledger empty
says err "empty: damaged privacy ledger"
expect 73 budget --release 0123 --ledger text/ledger
expect 66 budget --release 0123
says err "no run 0123"
[ "$(stat -c %a state state/ledger.sqlite | tr '\n' ' ')" = "700 600 " ] || fail "others may read the ledger"
expect 66 budget "$work/none"
expect 2 budget a b
expect 2 budget --delta 1
expect 2 budget --epsilon-total 0
env -u DIFFGEN_LEDGER XDG_STATE_HOME="$work/xdg" "$program" budget >out 2>err || fail "a missing state folder"
says out "$work/xdg/diffgen/privacy-ledger.sqlite"

[ "$failures" = 0 ] && echo "ok"
exit $((failures > 0))
