#!/usr/bin/env bash
# Several processes on one job: training gives the bytes of one process, whatever their number and however they talk;
# a run goes on with another number of them; sampling shares the images; what happens when one is killed.
# usage: test_ranks.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"
if ! command -v mpirun >/dev/null; then
    echo "skipped: mpirun is not here (tools/install-packages.sh installs it)"
    exit 0
fi
if [ ! -e "$(dirname "$program")/diffgen_mpi.so" ]; then
    echo "skipped: the program was built without MPI"
    exit 0
fi
# What MPI itself keeps until the end is not ours.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
launch=(mpirun --oversubscribe --bind-to none)
[ "$(id -u)" = 0 ] && launch+=(--allow-run-as-root)

# ranks CODE N ARGUMENT...: the program as N processes
ranks() {
    local wanted=$1 number=$2
    shift 2
    timeout 300 "${launch[@]}" -np "$number" "$program" "$@" >out 2>err </dev/null
    local got=$?
    [ "$got" = "$wanted" ] || fail "$number ranks of diffgen $* gave $got, not $wanted"
}
weights() { cat "$1"/model/unet/*.safetensors; }
# Losses and gradient norms, without the clock's numbers.
numbers() { sed 's/,"images_per_second".*//' "$1/metrics.jsonl"; }
# same_run A B: the same weights, the same numbers on the way
same_run() {
    cmp <(weights "$1") <(weights "$2") || fail "$2 has other weights than $1"
    cmp <(numbers "$1") <(numbers "$2") || fail "$2 has other numbers in metrics.jsonl than $1"
}

for class in bag coat "ankle boot"; do
    mkdir -p "images/$class"
    find "$source/samples/fashion/$class" -name '*.png' | sort | head -8 | while IFS= read -r image; do
        cp "$image" "images/$class/"
    done
done
train=(train --images images --preset tiny --batch 9 --micro-batch 2 --steps 6 --warmup 2 --seed 7
    --checkpoint-every 3 --log-every 1 --grid-every never --dropout 0.1 --hflip --threads 1)

# --- the same bytes

expect 0 "${train[@]}" --out one
ranks 0 2 "${train[@]}" --out two
same_run one two
[ "$(grep -c . out)" = 1 ] || fail "more than one rank prints the result"
says err "2 over MPI"
[ "$(grep -c '^images' err)" = 1 ] || fail "more than one rank says what it does"
ranks 0 3 "${train[@]}" --out three --json # blocks of 2 micro-batches: 4, 4 and 1 images
same_run one three
says out '"ranks":3'
[ "$(grep -c '"event":"result"' out)" = 1 ] || fail "more than one rank gives a result"
# More ranks than there are micro-batches: some have nothing to do but the sums.
ranks 0 3 "${train[@]}" --micro-batch 5 --out idle
expect 0 "${train[@]}" --micro-batch 5 --out whole
same_run whole idle

# Going on with another number of ranks, and with none. The schedule must not follow --steps.
constant=(--lr-schedule constant)
expect 0 "${train[@]}" "${constant[@]}" --out flat
ranks 0 2 "${train[@]}" "${constant[@]}" --steps 2 --out resumed
ranks 0 3 "${train[@]}" "${constant[@]}" --steps 4 --out resumed
expect 0 "${train[@]}" "${constant[@]}" --out resumed
same_run flat resumed

# The same over TCP, as torchrun sets it up.
port=$((20000 + RANDOM % 10000))
for rank in 0 1 2; do
    env RANK="$rank" WORLD_SIZE=3 MASTER_ADDR=localhost MASTER_PORT="$port" "$program" "${train[@]}" --out tcp \
        >"out$rank" 2>"err$rank" </dev/null &
done
wait
cat out? >out
cat err? >err
same_run one tcp
says err "3 over TCP"
[ "$(stat -c %a "$XDG_STATE_HOME/diffgen/ranks.key")" = 600 ] || fail "others can read the ranks' key"

# A private run wants a key that the user chose, the same for all, and keeps it nowhere.
private=(train --images images --preset tiny --batch 9 --steps 2 --warmup 1 --dp --epsilon 8 --grid-every never)
# over_tcp CODE PORT KEY0 KEY1 ARGUMENT...: two ranks over TCP with a key each ("": none)
over_tcp() {
    local wanted=$1 port=$2 keys=("$3" "$4") rank pids=() got
    shift 4
    for rank in 0 1; do
        env ${keys[rank]:+DIFFGEN_JOB_KEY="${keys[rank]}"} RANK="$rank" WORLD_SIZE=2 MASTER_ADDR=localhost \
            MASTER_PORT="$port" timeout 120 "$program" "$@" >"out$rank" 2>"err$rank" </dev/null &
        pids[rank]=$!
    done
    for rank in 0 1; do
        wait "${pids[rank]}"
        got=$?
        cp "err$rank" err
        [ "$got" = "$wanted" ] || fail "rank $rank of diffgen $* gave $got, not $wanted"
    done
    cat err0 err1 >err
}
key=5f0d2c6b8e714a9d3f0d2c6b8e714a9d
over_tcp 78 "$((port + 2))" "" "" "${private[@]}" --out private
says err0 "set DIFFGEN_JOB_KEY"
[ ! -e private ] || fail "a refused run has left a folder"
over_tcp 0 "$((port + 3))" "$key" "$key" "${private[@]}" --out private
grep -rqF "$key" private out? err? && fail "the job's key is written down"
over_tcp 78 "$((port + 4))" "short" "short" "${private[@]}" --out private
says err0 "DIFFGEN_JOB_KEY: a job's key has 32 to 4096 characters, this one has 5"

# --- sampling

expect 0 sample --model one -n 11 --steps 3 --out alone --grid
ranks 0 2 sample --model one -n 11 --steps 3 --out shared --grid
says err "11 images written"
diff -r --exclude '.lock*' --exclude 'manifest.*-of-*.json' alone shared >diff.txt || fail "two ranks draw another set"
cmp alone-grid.png shared-grid.png || fail "two ranks draw another sheet"
[ -e shared/DONE ] || fail "shared/DONE is missing"
rm "$(find shared/bag -name '*.png' | sort | head -1)"
ranks 0 3 sample --model one -n 11 --steps 3 --out shared --grid
diff -r --exclude '.lock*' --exclude 'manifest.*-of-*.json' alone shared >diff.txt || fail "gaps are filled otherwise"
ranks 2 2 sample --model one --shard 0/2
says err "leave it out"

# The installed program finds its module: it gets as far as the images.
build=$(dirname "$program")
if [ -e "$build/CMakeCache.txt" ] && cmake --install "$build" --prefix "$work/installed" >install.log 2>&1; then
    installed=$work/installed/bin/diffgen
    "${launch[@]}" -np 2 "$installed" train --images nowhere >out 2>err </dev/null
    [ $? = 66 ] || fail "the installed program does not work in ranks"
fi

# --- when something is wrong: one message, the same code

ranks 2 2 train --imgaes images
[ "$(grep -c 'diffgen: error' err)" = 1 ] || fail "more or less than one rank says what is wrong"
ranks 66 2 train --images nowhere
[ "$(grep -c 'diffgen: error' err)" = 1 ] || fail "more or less than one rank says what is wrong"
ranks 78 2 "${train[@]}" --lr 0.5 --out one
[ "$(grep -c 'diffgen: error' err)" = 1 ] || fail "more or less than one rank says what is wrong"

# A signal to the launcher reaches all; the run is left with a checkpoint.
long=(train --images images --preset tiny --batch 9 --micro-batch 2 --seed 7 --checkpoint-every 20 --log-every 1
    --grid-every never --threads 1 --steps 1000000)
# started RUN: waits until its first checkpoint is there
started() {
    for _ in $(seq 600); do
        compgen -G "$1/checkpoints/step-*" >/dev/null && return
        sleep 0.1
    done
    fail "$1 has no checkpoint after a minute"
}
"${launch[@]}" -np 2 "$program" "${long[@]}" --out signal >out 2>err </dev/null &
launcher=$!
started signal
kill -USR1 "$launcher"
wait "$launcher"
[ $? = 75 ] || fail "a signal did not end the ranks with 75"
says err "stopped by SIGUSR1"

# A step that takes far longer than the time limit is given up on all ranks, not on the first alone.
begin=$SECONDS
for rank in 0 1; do
    env RANK="$rank" WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT="$((port + 2))" "$program" train --images images \
        --preset tiny --resolution 16 --batch 60000 --micro-batch 1 --threads 1 --time-limit 2s --grid-every never \
        --out hopeless >"out$rank" 2>"err$rank" </dev/null &
    pids[rank]=$!
done
wait "${pids[0]}"
[ $? = 1 ] || fail "rank 0 did not end with 1 although its time was over before a step"
wait "${pids[1]}"
[ $? = 1 ] || fail "rank 1 did not end with 1 although its time was over before a step"
cp err0 err
says err "before a single step was done"
[ $((SECONDS - begin)) -lt 40 ] || fail "a time limit of 2 s took two ranks $((SECONDS - begin)) s"

# A rank is killed: the others end too, and the run can go on.
"${launch[@]}" -np 2 "$program" "${long[@]}" --out killed >out 2>err </dev/null &
launcher=$!
started killed
kill -KILL "$(pgrep -P "$launcher" -n)"
wait "$launcher"
[ $? != 0 ] || fail "a killed rank went unnoticed"
step=$(find killed/checkpoints -name 'step-*' | sort | tail -1)
step=$((10#${step##*-} + 1))
expect 0 "${long[@]}" --steps "$step" --out killed --resume must

for rank in 0 1 2; do
    env RANK="$rank" WORLD_SIZE=3 MASTER_ADDR=localhost MASTER_PORT="$((port + 1))" "$program" "${long[@]}" \
        --out orphan >"out$rank" 2>"err$rank" </dev/null &
    pids[rank]=$!
done
started orphan
kill -KILL "${pids[2]}"
wait "${pids[0]}"
[ $? = 1 ] || fail "rank 0 did not end with 1"
wait "${pids[1]}"
[ $? = 1 ] || fail "rank 1 did not end with 1"
cp err0 err
says err "is gone"
is_empty err1

[ "$failures" = 0 ] && echo "ok"
exit $((failures > 0))
