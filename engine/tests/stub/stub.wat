;; A guest that speaks the image's protocol without an interpreter: every delivery is a call of an own object whose number
;; is the command (the byte at 3 of the encoding), with a method name of one byte (at 6) as its parameter.
(module
  (import "quorate" "log" (func $log (param i32 i32 i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (memory (export "memory") 2)
  (global $stack_pointer (mut i32) (i32.const 4096))
  (global $ticks (export "ticks") (mut i64) (i64.const 0))
  ;; 16: Done with one Send to HostObject(counter); 40: StartFailed; 48: garbage; 64: text; 128: the counter; 160: Limits
  (data (i32.const 16) "\02\00\01\00\01\00\01\00\00\00")
  (data (i32.const 40) "\02\01\00")
  (data (i32.const 48) "\01\09\09")
  (data (i32.const 64) "hello from the stub\0a")
  (data (i32.const 160) "\02\02\09recursion\00\00\00\00\02\02\05stack\00\00\00\00\00\00\00\00\02\02\04else")
  (func (export "quorate_abi") (result i32) (i32.const 2))
  (func (export "quorate_boot") (i32.store (i32.const 128) (i32.const 100)))
  (func (export "quorate_alloc") (param $length i32) (result i32)
    ;; one buffer, at 8192; the stack pointer moves and comes back
    (global.set $stack_pointer (i32.sub (global.get $stack_pointer) (i32.const 16)))
    (i32.const 8192))
  (func $answer (param $at i32) (param $length i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $length))))
  (func $count
    (i32.store (i32.const 128) (i32.rem_u (i32.add (i32.load (i32.const 128)) (i32.const 1)) (i32.const 250))))
  (func $recurse (param i32) (result i32)
    (i32.add (call $recurse (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (func $fill (param $page i32) (param $pages i32)
    (loop $next
      (i32.store (i32.shl (local.get $page) (i32.const 12)) (i32.load (i32.const 128)))
      (local.set $page (i32.add (local.get $page) (i32.const 1)))
      (br_if $next (local.tee $pages (i32.sub (local.get $pages) (i32.const 1))))))
  (func $talk (param $lines i32)
    (loop $next
      (call $log (i32.const 2) (i32.const 64) (i32.const 19))
      (br_if $next (local.tee $lines (i32.sub (local.get $lines) (i32.const 1))))))
  (func (export "quorate_deliver") (param $at i32) (param $length i32) (result i64)
    (local $command i32)
    (local $parameter i32)
    (global.set $stack_pointer (i32.add (global.get $stack_pointer) (i32.const 16)))
    (local.set $command (i32.load8_u offset=3 (local.get $at)))
    (local.set $parameter (i32.load8_u offset=6 (local.get $at)))
    (call $count)
    (if (i32.eq (local.get $command) (i32.const 1)) (then (loop $for_ever (br $for_ever))))
    (if (i32.eq (local.get $command) (i32.const 2)) (then (unreachable)))
    (if (i32.eq (local.get $command) (i32.const 3)) (then
      (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      (unreachable)))
    (if (i32.eq (local.get $command) (i32.const 4)) (then (drop (call $recurse (i32.const 0)))))
    (if (i32.eq (local.get $command) (i32.const 5)) (then (call $fill (i32.const 8) (local.get $parameter))))
    (if (i32.eq (local.get $command) (i32.const 6)) (then
      (if (i32.eq (local.get $parameter) (i32.const 1)) (then (return (call $answer (i32.const 176) (i32.const 8)))))
      (if (i32.eq (local.get $parameter) (i32.const 2)) (then (return (call $answer (i32.const 192) (i32.const 7)))))
      (return (call $answer (i32.const 160) (i32.const 12)))))
    (if (i32.eq (local.get $command) (i32.const 7)) (then (return (call $answer (i32.const 40) (i32.const 3)))))
    (if (i32.eq (local.get $command) (i32.const 8)) (then
      (if (i32.eq (memory.grow (local.get $parameter)) (i32.const -1)) (then (unreachable)))))
    (if (i32.eq (local.get $command) (i32.const 9)) (then (call $talk (i32.const 1000))))
    (if (i32.eq (local.get $command) (i32.const 10)) (then (return (call $answer (i32.const 48) (i32.const 3)))))
    (if (i32.eq (local.get $command) (i32.const 11)) (then (call $proc_exit (i32.const 3))))
    (if (i32.eq (local.get $command) (i32.const 12)) (then (return (call $answer (i32.const -8) (i32.const 64)))))
    (if (i32.eq (local.get $command) (i32.const 13)) (then
      (global.set $ticks (i64.add (global.get $ticks) (i64.const 1)))))
    (if (i32.eq (local.get $command) (i32.const 14)) (then
      (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 4096)))
      (drop (call $random (i32.const 4104) (i32.const 64)))
      (drop (call $fd_close (i32.const 3)))
      ;; pointers out of range are errors, not traps
      (drop (call $random (i32.const -4) (i32.const 64)))
      (drop (call $fd_write (i32.const 1) (i32.const -4) (i32.const 7) (i32.const -4)))
      (i32.store (i32.const 4200) (i32.const 64))
      (i32.store (i32.const 4204) (i32.const 20))
      (drop (call $fd_write (i32.const 2) (i32.const 4200) (i32.const 1) (i32.const 4208)))))
    ;; a second writer of pages: takes back what command 5 wrote
    (if (i32.eq (local.get $command) (i32.const 15)) (then
      (memory.fill (i32.const 32768) (i32.const 0) (i32.shl (local.get $parameter) (i32.const 12)))))
    (i32.store8 (i32.const 21) (i32.load (i32.const 128)))
    (call $answer (i32.const 16) (i32.const 10))))
