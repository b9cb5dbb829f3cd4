#!/usr/bin/env bash
# diffgen audit, and evaluate beside it: a model that was trained on very few images for very long gives them away, to
# attacks and in what it draws; threads change nothing, bad input is said.
# usage: test_audit.sh PROGRAM SOURCE_DIR
# shellcheck source=tests/e2e/support.sh
. "$(dirname "$0")/support.sh"

for class in bag sneaker; do
    mkdir -p "members/$class" "others/$class"
    find "$source/samples/fashion/$class" -name '*.png' | sort | head -20 | xargs cp -t "members/$class"
    find "$source/samples/fashion/$class" -name '*.png' | sort | tail -40 | xargs cp -t "others/$class"
done
expect 0 train --images members --out run --steps 1000 --batch 40 --lr 4e-3 --ema 0.98 --warmup 50 --resolution 8 \
    --label-dropout 0 --quiet

expect 0 audit --model run --members members --non-members others --out audit
for file in audit.json audit.html roc.svg; do
    [ -s "audit/$file" ] || fail "no audit/$file"
done
for attack in "Loss threshold" SecMI PIA SimA; do
    says out "$attack"
    says audit/audit.html "$attack"
done
# Columns: name (of two words for the first), AUC, TPR at 1 %, at 0.1 %.
awk '/^Loss threshold/ { exit !($3 > 0.75) }' out || fail "the loss does not give the members away"
awk '/^SimA/ { exit !($2 > 0.75) }' out || fail "SimA does not find the members"
grep -qE '(src|href)="(https?:)?//|<script' audit/audit.html && fail "the page asks for something from outside"

# Its images are copies, and a gate of evaluate says so: nearer to what it was trained on than to others, and nearer than
# that is to itself.
expect 0 sample --model run --all-classes -n 80 --steps 50 --out drawn --quiet
echo '{"gates": [{"metric": "memorisation.pixels.nearer_to_train", "max": 0.65, "bound": "low"},
    {"metric": "memorisation.pixels.authenticity", "min": 0.25, "bound": "high"}]}' >policy.json
expect 20 evaluate --real members --holdout others --synthetic drawn --resolution 8 --no-utility --out copies --gate policy.json \
    --quiet
says err "2 of 2 gates failed"

expect 0 audit --model run --members members --non-members others --out one --threads 1 --json
cp out one.json
expect 0 audit --model run --members members --non-members others --out three --threads 3 --json
cmp -s out one.json || fail "the number of threads shows in the audit"

# Two halves of what it never saw: nothing to find. A reference model, the model itself: its ratio says nothing.
expect 0 audit --model run --members members --non-members others --reference-model run --out reference --json
says out '"attack":"reference_ratio"'
grep -qE '"attack":"reference_ratio"[^{]*"auc":0.5,' out || fail "a model is no reference for itself, yet its ratio tells"

# Classes go by name: the same model whose two names were exchanged is asked for the wrong ones, and is a reference.
cp -rL run/model exchanged
sed -i 's/"bag"/"@"/; s/"sneaker"/"bag"/; s/"@"/"sneaker"/' exchanged/diffgen.json
expect 0 audit --model run --members members --non-members others --reference-model exchanged --out reference --json
grep -qE '"attack":"reference_ratio"[^{]*"auc":0.5,' out && fail "a reference is asked for the classes of the model"
sed -i 's/"bag"/"hat"/' exchanged/diffgen.json
expect 65 audit --model run --members members --non-members others --reference-model exchanged --out reference
says err "the model of --reference-model exchanged has no class 'bag'"

# Non-members that are members hide what the attacks could tell.
expect 65 audit --model run --members members --non-members members --out same
says err "--non-members members: all 40 images are among --members members"
[ -e same ] && fail "a refused audit left a folder"
cp -r others mixed && cp members/bag/* mixed/bag/
expect 0 audit --model run --members members --non-members mixed --out mixed-audit
says err "20 of 100 images are among --members members"
says mixed-audit/audit.html "20 of the 100 other images are among the training images"
grep -q '"shared": 20' mixed-audit/audit.json || fail "audit.json does not count shared images"
grep -q '"shared": 0' audit/audit.json || fail "audit.json sees shared images where none are"
grep -q "are among the training images" audit/audit.html && fail "the page sees shared images where none are"

# A picture among the pictures would be read as one of them.
expect 2 audit --model run --members members --non-members others --out others/audit
says err "--out others/audit lies in the images of --non-members others"
expect 2 audit --model run --members members --non-members others --out members
[ -e others/audit ] && fail "a refused audit left a folder"

# Of a private model: what was proven stands beside what was reached, and was not exceeded.
expect 0 train --images members --out private --dp --epsilon 2 --delta 1e-3 --batch 10 --steps 10 --resolution 8 --quiet
expect 0 audit --model private --members members --non-members others --out proven
says out "at most, proven by the training"
says proven/audit.html "was trained with differential privacy, epsilon"
says proven/roc.svg ">ceiling<"
grep -q '"exceeded": false' proven/audit.json || fail "an attack beats what was proven"
# The run was trained without label dropout: it cannot be asked without a class.
expect 65 audit --model private --members members --non-members others --reference-model run --unconditional --out unlabelled
says err "--unconditional: the model of --reference-model run"
grep -q '"privacy"' audit/audit.json && fail "a model that is not private promises something"

expect 2 audit --members members
says err "--non-members is missing"
expect 66 audit --model nowhere --members members --non-members others
mkdir -p strange/trouser && cp members/bag/* strange/trouser/ && mkdir strange/bag && cp others/bag/* strange/bag/
expect 65 audit --model run --members strange --non-members others
says err "the model has no class 'trouser'"

exit $((failures > 0))
