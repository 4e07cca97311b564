/**
 * Commands that fail. Of their paths, P does not exist, F is a file with other contents, D a folder, and LONG too long for a
 * socket.
 */
export const FAILING_COMMANDS = `
send
demo --fast
demo now
demo --order 18
demo --order 37
demo --order 0x17
demo --rate -1
demo --seed 1.5
sned
frobnicate
load --fast
load F --fats
probe extra
help nothing
help send x
save --emulated order=20
save D/x --emulated=order=99
save D/x --emulated=file=P
save D/x --emulated=file=F
save D/x
save D/x --emulated --htab-fd 3
save D/x --pid 1
save D/x --htab-fd 3
save D/x --htab-fd x --order 18
save D/x --htab-socket P
save D/x --htab-socket F
save D/x --htab-socket LONG
save D/x --qmp P
save D/x --qmp F
save D/x --qmp LONG
save D/x --qmp P --order 20
save D/x --qmp P --attach 3 --htab-fd 3
save D/x --qmp P --htab-socket P
save D/x --qmp P --htab-fd 3 --order 20
save D/x --qmp P --emulated
save D/x --qmp P --attach 3 --on-pause true --on-resume true
save D/x --qmp P --attach 3 --already-paused
save D/x --emulated=order=18,steps=0 --on-pause true
save D --emulated=order=18,steps=0
save F/x --emulated=order=18,steps=0
save P/x --emulated=order=18,steps=0
save x --json --quiet
save x --emulated=order=24,order=25
save x --emulated=file=a,order=20
save --emulated --order 20 x
save --emulated --max-passes 0 x
save --pid-fd 3 --order 20 x
save --emulated --on-resume x y
save --emulated --already-paused --on-pause x y
inspect
inspect P
inspect F
inspect F --emulated
inspect --qmp P
inspect --emulated --by pages
inspect --emulated --by context
inspect --emulated --at c000000000000000
inspect --emulated --at x
inspect --emulated --ptex 99999999
inspect --emulated --bolted
inspect --emulated --context 1
inspect --emulated --list --ptex 1
diff F
diff F P
diff - -
watch
watch F
watch --emulated --passes 0
report F
report -o x
report P -o x
report --emulated=order=18 -o D
report F -o x --passes 2
fit --emulated
fit --emulated --to 17
advise
advise --memory much
export
export F
export F x.parquet
export F x.txt
export P x.csv
export --emulated x.csv y.csv
export --emulated P/x.csv
export --emulated x.csv --format json
check P
check F
extract F
extract F -o P/x
relay unix:a
relay unix:a tls://b:1
relay x unix:b
relay unix:P/a unix:b
relay tcp://192.0.2.1:1 unix:b
relay unix:a unix:b --expect-digest 1
relay unix:a unix:b --min-entries -1
rewrite F -o P
rewrite F --table P -o P
load P --emulated
load F --emulated
load D --emulated
load F --emulated --read-back
load x
load --emulated=seed=1 x
load --htab-fd 3 --order 20 --read-back x
receive unix:F --emulated
receive unix:P/s --emulated
receive unix:LONG --emulated
receive tcp://0.0.0.0:0 --emulated
receive tls://127.0.0.1:0 --emulated
receive tls://127.0.0.1:0 --emulated --cert P --key P --ca P
receive tcp://127.0.0.1:0 --emulated --cert P --key P --ca P
receive tls://127.0.0.1:0 --emulated --cert P --key P --ca P --insecure-plaintext
receive systemd --emulated
receive nowhere --emulated
receive tcp://nobody.invalid:7000 --emulated
receive unix:P --emulated --journal P/journal
receive unix:P --emulated --journal D
receive unix:P --emulated --journal F
receive unix:P --emulated --max-order 99
receive unix:P --emulated --page-shifts 13
receive unix:P --emulated --metrics x
receive unix:P --emulated --json --quiet
receive tcp://127.0.0.1:0
receive unix:P --emulated --page-shifts 12,13
receive unix:P --emulated --page-shifts=
receive unix:P --emulated --expected-order 37
receive unix:P --emulated --min-bolted-entries -1
receive unix:P --emulated --on-accept true
receive unix:P --emulated --on-discard true --on-run true
receive unix:P --emulated --guest-timeout-ms 0
send unix:P --emulated
send unix:F --emulated
send systemd --emulated
send tcp://localhost:1 --emulated
send tcp://192.0.2.1:7000 --emulated
send tcp://nobody.invalid:7000 --emulated
send unix:P --htab-fd 3 --order 18
send unix:P --attach 3
send unix:P --htab-fd 3 --order 18 --already-paused --recheck-source
send unix:P --emulated --if-not-converging throttle --on-pause true --on-resume true
send unix:P --emulated --on-pause true
send unix:P --emulated --bandwidth fast
send unix:P --emulated --migration-id a_b
send unix:P --emulated --journal F
send --jso
send b.example:7000 --emulated
send unix:P --emulated --bandwidth 0
send unix:P --emulated --if-not-converging pray
send unix:P --emulated --on-throttle true
send unix:P --emulated --on-rest-ms true
send unix:P --emulated --scan-share 2
send unix:P --emulated --if-not-converging throttle
send unix:P --htab-socket P --on-pause true --on-resume true --if-not-converging throttle
send unix:P --htab-socket P --already-paused --if-not-converging throttle
send unix:P --emulated --already-paused --on-pause true --on-resume true
send unix:P
send unix:P --pid 1
resolve
resolve m-1 --journal P
resolve --journal F
resolve --journal D
resolve m-1 --journal D/journal
resolve --decide aborted --journal F
resolve m-1 --side destination --decide committed --journal F
resolve m-1
resolve --ask unix:P
resolve --side up
resolve --journal F --ask unix:P --side destination
`
  .trim()
  .split('\n');
