(module
 (type $0 (func (param i32 i32) (result i32)))
 (type $1 (func (param i32) (result i32)))
 (type $2 (func (param i32 i32 i32) (result i32)))
 (type $3 (func (param i32 i32 i32 i32 i32) (result i32)))
 (type $4 (func (param i32)))
 (type $5 (func))
 (type $6 (func (param i32) (result f64)))
 (type $7 (func (param i32 i32 i32)))
 (type $8 (func (param i32 i32 i32 i32) (result i32)))
 (type $9 (func (param i32 i32)))
 (type $10 (func (param i32 i32 i32 i32 i32 i32) (result i32)))
 (type $11 (func (result i32)))
 (import "env" "realm_stream_token" (func $realm/realm_stream_token (param i32 i32) (result i32)))
 (import "env" "realm_session_sample" (func $realm/realm_session_sample (param i32 i32 i32 i32) (result i32)))
 (import "env" "realm_session_prefill" (func $realm/realm_session_prefill (param i32 i32 i32) (result i32)))
 (import "env" "realm_session_open" (func $realm/realm_session_open (param i32) (result i32)))
 (import "env" "realm_session_close" (func $realm/realm_session_close (param i32) (result i32)))
 (import "env" "realm_render_chat" (func $realm/realm_render_chat (param i32 i32 i32 i32 i32) (result i32)))
 (import "env" "realm_host_load_model_by_name" (func $realm/realm_host_load_model_by_name (param i32 i32) (result i32)))
 (import "env" "realm_get_model_metadata" (func $realm/realm_get_model_metadata (param i32 i32 i32) (result i32)))
 (import "env" "realm_encode_text" (func $realm/realm_encode_text (param i32 i32 i32 i32 i32 i32) (result i32)))
 (import "env" "realm_decode_tokens" (func $realm/realm_decode_tokens (param i32 i32 i32 i32 i32) (result i32)))
 (global $~lib/rt/stub/offset (mut i32) (i32.const 0))
 (global $~argumentsLength (mut i32) (i32.const 0))
 (memory $0 1)
 (data $0 (i32.const 12) "\1c")
 (data $0.1 (i32.const 24) "\02\00\00\00\n\00\00\00m\00o\00d\00e\00l")
 (data $1 (i32.const 44) "\1c")
 (data $1.1 (i32.const 56) "\02")
 (data $2 (i32.const 76) "\1c")
 (data $2.1 (i32.const 88) "\02\00\00\00\02\00\00\00\n")
 (data $3 (i32.const 108) "\1c")
 (data $3.1 (i32.const 120) "\02\00\00\00\02\00\00\00\t")
 (data $4 (i32.const 140) "\1c")
 (data $4.1 (i32.const 152) "\02\00\00\00\02\00\00\00\r")
 (data $5 (i32.const 172) "\1c")
 (data $5.1 (i32.const 184) "\02\00\00\00\02\00\00\00\08")
 (data $6 (i32.const 204) "\1c")
 (data $6.1 (i32.const 216) "\02\00\00\00\02\00\00\00\0c")
 (data $7 (i32.const 236) ",")
 (data $7.1 (i32.const 248) "\02\00\00\00\0e\00\00\00o\00p\00t\00i\00o\00n\00s")
 (data $8 (i32.const 284) ",")
 (data $8.1 (i32.const 296) "\02\00\00\00\10\00\00\00m\00e\00s\00s\00a\00g\00e\00s")
 (data $9 (i32.const 332) "\1c")
 (data $9.1 (i32.const 344) "\02\00\00\00\0c\00\00\00p\00r\00o\00m\00p\00t")
 (data $10 (i32.const 364) "\1c")
 (data $10.1 (i32.const 376) "\01")
 (data $11 (i32.const 396) "<")
 (data $11.1 (i32.const 408) "\02\00\00\00*\00\00\00e\00n\00d\00_\00o\00f\00_\00g\00e\00n\00e\00r\00a\00t\00i\00o\00n\00_\00i\00d\00s")
 (data $12 (i32.const 460) "\1c")
 (data $12.1 (i32.const 472) "\01")
 (data $13 (i32.const 492) ",")
 (data $13.1 (i32.const 504) "\02\00\00\00\14\00\00\00m\00a\00x\00_\00t\00o\00k\00e\00n\00s")
 (export "realm_handle" (func $first_sentence/realm_handle))
 (export "realm_abi_version" (func $realm/realm_abi_version))
 (export "realm_alloc" (func $realm/realm_alloc))
 (export "realm_free" (func $realm/realm_free))
 (export "memory" (memory $0))
 (start $~start)
 (func $~lib/string/String#get:length (param $0 i32) (result i32)
  local.get $0
  i32.const 20
  i32.sub
  i32.load offset=16
  i32.const 1
  i32.shr_u
 )
 (func $~lib/rt/stub/__new (param $0 i32) (param $1 i32) (result i32)
  (local $2 i32)
  (local $3 i32)
  local.get $0
  i32.const 1073741804
  i32.gt_u
  if
   unreachable
  end
  local.get $0
  i32.const 16
  i32.add
  call $~lib/rt/stub/__alloc
  local.tee $3
  i32.const 4
  i32.sub
  local.tee $2
  i32.const 0
  i32.store offset=4
  local.get $2
  i32.const 0
  i32.store offset=8
  local.get $2
  local.get $1
  i32.store offset=12
  local.get $2
  local.get $0
  i32.store offset=16
  local.get $3
  i32.const 16
  i32.add
 )
 (func $~lib/string/String#charCodeAt (param $0 i32) (param $1 i32) (result i32)
  local.get $0
  call $~lib/string/String#get:length
  local.get $1
  i32.le_u
  if
   i32.const -1
   return
  end
  local.get $0
  local.get $1
  i32.const 1
  i32.shl
  i32.add
  i32.load16_u
 )
 (func $~lib/string/String.__concat (param $0 i32) (param $1 i32) (result i32)
  (local $2 i32)
  (local $3 i32)
  (local $4 i32)
  (local $5 i32)
  i32.const 64
  local.set $2
  local.get $0
  call $~lib/string/String#get:length
  i32.const 1
  i32.shl
  local.tee $3
  local.get $1
  call $~lib/string/String#get:length
  i32.const 1
  i32.shl
  local.tee $4
  i32.add
  local.tee $5
  if
   local.get $5
   i32.const 2
   call $~lib/rt/stub/__new
   local.tee $2
   local.get $0
   local.get $3
   memory.copy
   local.get $2
   local.get $3
   i32.add
   local.get $1
   local.get $4
   memory.copy
  end
  local.get $2
 )
 (func $~lib/arraybuffer/ArrayBuffer#get:byteLength (param $0 i32) (result i32)
  local.get $0
  i32.const 20
  i32.sub
  i32.load offset=16
 )
 (func $json/skipSpace (param $0 i32) (param $1 i32) (result i32)
  loop $while-continue|0
   local.get $0
   call $~lib/string/String#get:length
   local.get $1
   i32.gt_s
   if (result i32)
    local.get $0
    local.get $1
    call $~lib/string/String#charCodeAt
    i32.const 32
    i32.le_s
   else
    i32.const 0
   end
   if
    local.get $1
    i32.const 1
    i32.add
    local.set $1
    br $while-continue|0
   end
  end
  local.get $1
 )
 (func $~lib/string/String.__eq (param $0 i32) (param $1 i32) (result i32)
  (local $2 i32)
  (local $3 i32)
  (local $4 i32)
  (local $5 i32)
  local.get $0
  local.get $1
  i32.eq
  if
   i32.const 1
   return
  end
  local.get $1
  i32.eqz
  local.get $0
  i32.eqz
  i32.or
  if
   i32.const 0
   return
  end
  local.get $1
  call $~lib/string/String#get:length
  local.get $0
  call $~lib/string/String#get:length
  local.tee $3
  i32.ne
  if
   i32.const 0
   return
  end
  block $__inlined_func$~lib/util/string/compareImpl$10
   loop $while-continue|0
    local.get $3
    local.tee $2
    i32.const 1
    i32.sub
    local.set $3
    local.get $2
    if
     local.get $0
     i32.load16_u
     local.tee $2
     local.get $1
     i32.load16_u
     local.tee $4
     i32.sub
     local.set $5
     local.get $2
     local.get $4
     i32.ne
     br_if $__inlined_func$~lib/util/string/compareImpl$10
     local.get $0
     i32.const 2
     i32.add
     local.set $0
     local.get $1
     i32.const 2
     i32.add
     local.set $1
     br $while-continue|0
    end
   end
   i32.const 0
   local.set $5
  end
  local.get $5
  i32.eqz
 )
 (func $~lib/string/String#substring (param $0 i32) (param $1 i32) (param $2 i32) (result i32)
  (local $3 i32)
  (local $4 i32)
  local.get $1
  i32.const 0
  local.get $1
  i32.const 0
  i32.gt_s
  select
  local.tee $3
  local.get $0
  call $~lib/string/String#get:length
  local.tee $1
  local.get $1
  local.get $3
  i32.gt_s
  select
  local.tee $3
  local.get $2
  i32.const 0
  local.get $2
  i32.const 0
  i32.gt_s
  select
  local.tee $2
  local.get $1
  local.get $1
  local.get $2
  i32.gt_s
  select
  local.tee $2
  local.get $2
  local.get $3
  i32.gt_s
  select
  i32.const 1
  i32.shl
  local.set $4
  local.get $3
  local.get $2
  local.get $2
  local.get $3
  i32.lt_s
  select
  i32.const 1
  i32.shl
  local.tee $2
  local.get $4
  i32.sub
  local.tee $3
  i32.eqz
  if
   i32.const 64
   return
  end
  local.get $4
  i32.eqz
  local.get $2
  local.get $1
  i32.const 1
  i32.shl
  i32.eq
  i32.and
  if
   local.get $0
   return
  end
  local.get $3
  i32.const 2
  call $~lib/rt/stub/__new
  local.tee $1
  local.get $0
  local.get $4
  i32.add
  local.get $3
  memory.copy
  local.get $1
 )
 (func $json/member (param $0 i32) (param $1 i32) (result i32)
  (local $2 i32)
  (local $3 i32)
  (local $4 i32)
  local.get $0
  call $~lib/string/String#get:length
  local.get $0
  i32.const 0
  call $json/skipSpace
  local.tee $2
  i32.le_s
  if (result i32)
   i32.const 1
  else
   local.get $0
   local.get $2
   call $~lib/string/String#charCodeAt
   i32.const 123
   i32.ne
  end
  if
   i32.const 0
   return
  end
  local.get $0
  local.get $2
  i32.const 1
  i32.add
  call $json/skipSpace
  local.set $2
  loop $while-continue|0
   local.get $0
   call $~lib/string/String#get:length
   local.get $2
   i32.gt_s
   if (result i32)
    local.get $0
    local.get $2
    call $~lib/string/String#charCodeAt
    i32.const 34
    i32.eq
   else
    i32.const 0
   end
   if
    local.get $0
    local.get $2
    i32.const 1
    i32.add
    local.get $0
    local.get $2
    call $json/skipString
    local.tee $2
    i32.const 1
    i32.sub
    call $~lib/string/String#substring
    local.get $1
    call $~lib/string/String.__eq
    local.get $0
    local.get $0
    local.get $0
    local.get $2
    call $json/skipSpace
    i32.const 1
    i32.add
    call $json/skipSpace
    local.tee $4
    call $json/skipValue
    local.set $2
    if
     local.get $0
     local.get $4
     local.get $2
     call $~lib/string/String#substring
     return
    end
    local.get $0
    local.get $0
    local.get $2
    call $json/skipSpace
    i32.const 1
    i32.add
    call $json/skipSpace
    local.set $2
    br $while-continue|0
   end
  end
  i32.const 0
 )
 (func $~lib/staticarray/StaticArray<u32>#get:length (param $0 i32) (result i32)
  local.get $0
  i32.const 20
  i32.sub
  i32.load offset=16
  i32.const 2
  i32.shr_u
 )
 (func $~lib/string/String.UTF8.encode@varargs (param $0 i32) (result i32)
  (local $1 i32)
  (local $2 i32)
  (local $3 i32)
  (local $4 i32)
  block $2of2
   block $outOfRange
    global.get $~argumentsLength
    i32.const 1
    i32.sub
    br_table $2of2 $2of2 $2of2 $outOfRange
   end
   unreachable
  end
  local.get $0
  local.tee $1
  i32.const 20
  i32.sub
  i32.load offset=16
  local.get $1
  i32.add
  local.set $3
  loop $while-continue|0
   local.get $1
   local.get $3
   i32.lt_u
   if
    local.get $1
    i32.load16_u
    local.tee $4
    i32.const 128
    i32.lt_u
    if (result i32)
     local.get $2
     i32.const 1
     i32.add
    else
     local.get $4
     i32.const 2048
     i32.lt_u
     if (result i32)
      local.get $2
      i32.const 2
      i32.add
     else
      local.get $4
      i32.const 64512
      i32.and
      i32.const 55296
      i32.eq
      local.get $1
      i32.const 2
      i32.add
      local.get $3
      i32.lt_u
      i32.and
      if
       local.get $1
       i32.load16_u offset=2
       i32.const 64512
       i32.and
       i32.const 56320
       i32.eq
       if
        local.get $2
        i32.const 4
        i32.add
        local.set $2
        local.get $1
        i32.const 4
        i32.add
        local.set $1
        br $while-continue|0
       end
      end
      local.get $2
      i32.const 3
      i32.add
     end
    end
    local.set $2
    local.get $1
    i32.const 2
    i32.add
    local.set $1
    br $while-continue|0
   end
  end
  local.get $2
  i32.const 1
  call $~lib/rt/stub/__new
  local.set $1
  local.get $0
  local.get $0
  call $~lib/string/String#get:length
  local.get $1
  call $~lib/string/String.UTF8.encodeUnsafe
  local.get $1
 )
 (func $~lib/rt/stub/__alloc (param $0 i32) (result i32)
  (local $1 i32)
  (local $2 i32)
  local.get $0
  i32.const 1073741820
  i32.gt_u
  if
   unreachable
  end
  global.get $~lib/rt/stub/offset
  global.get $~lib/rt/stub/offset
  i32.const 4
  i32.add
  local.tee $2
  local.get $0
  i32.const 19
  i32.add
  i32.const -16
  i32.and
  i32.const 4
  i32.sub
  local.tee $0
  i32.add
  call $~lib/rt/stub/maybeGrowMemory
  local.get $0
  i32.store
  local.get $2
 )
 (func $~lib/rt/__newArray (param $0 i32) (param $1 i32) (param $2 i32) (result i32)
  (local $3 i32)
  (local $4 i32)
  local.get $0
  i32.const 2
  i32.shl
  local.tee $4
  i32.const 1
  call $~lib/rt/stub/__new
  local.set $3
  local.get $2
  if
   local.get $3
   local.get $2
   local.get $4
   memory.copy
  end
  i32.const 16
  local.get $1
  call $~lib/rt/stub/__new
  local.tee $1
  local.get $3
  i32.store
  local.get $1
  local.get $3
  i32.store offset=4
  local.get $1
  local.get $4
  i32.store offset=8
  local.get $1
  local.get $0
  i32.store offset=12
  local.get $1
 )
 (func $~lib/string/String.fromCharCode@varargs (param $0 i32) (result i32)
  (local $1 i32)
  (local $2 i32)
  (local $3 i32)
  block $1of1
   block $0of1
    block $outOfRange
     global.get $~argumentsLength
     i32.const 1
     i32.sub
     br_table $0of1 $1of1 $outOfRange
    end
    unreachable
   end
   i32.const -1
   local.set $1
  end
  i32.const 2
  local.get $1
  i32.const 0
  i32.gt_s
  local.tee $3
  i32.shl
  i32.const 2
  call $~lib/rt/stub/__new
  local.tee $2
  local.get $0
  i32.store16
  local.get $3
  if
   local.get $2
   local.get $1
   i32.store16 offset=2
  end
  local.get $2
 )
 (func $~lib/string/String.__ne (param $0 i32) (result i32)
  local.get $0
  i32.const 0
  call $~lib/string/String.__eq
  i32.eqz
 )
 (func $~lib/string/String.UTF8.decodeUnsafe (param $0 i32) (param $1 i32) (result i32)
  (local $2 i32)
  (local $3 i32)
  (local $4 i32)
  (local $5 i32)
  (local $6 i32)
  local.get $0
  local.get $1
  i32.add
  local.tee $3
  local.get $0
  i32.lt_u
  if
   unreachable
  end
  local.get $1
  i32.const 1
  i32.shl
  i32.const 2
  call $~lib/rt/stub/__new
  local.tee $4
  local.set $1
  loop $while-continue|0
   local.get $0
   local.get $3
   i32.lt_u
   if
    block $while-break|0
     local.get $0
     i32.load8_u
     local.set $5
     local.get $0
     i32.const 1
     i32.add
     local.set $0
     local.get $5
     i32.const 128
     i32.and
     if
      local.get $0
      local.get $3
      i32.eq
      br_if $while-break|0
      local.get $0
      i32.load8_u
      i32.const 63
      i32.and
      local.set $6
      local.get $0
      i32.const 1
      i32.add
      local.set $0
      local.get $5
      i32.const 224
      i32.and
      i32.const 192
      i32.eq
      if
       local.get $1
       local.get $5
       i32.const 31
       i32.and
       i32.const 6
       i32.shl
       local.get $6
       i32.or
       i32.store16
      else
       local.get $0
       local.get $3
       i32.eq
       br_if $while-break|0
       local.get $0
       i32.load8_u
       i32.const 63
       i32.and
       local.set $2
       local.get $0
       i32.const 1
       i32.add
       local.set $0
       local.get $5
       i32.const 240
       i32.and
       i32.const 224
       i32.eq
       if
        local.get $5
        i32.const 15
        i32.and
        i32.const 12
        i32.shl
        local.get $6
        i32.const 6
        i32.shl
        i32.or
        local.get $2
        i32.or
        local.set $2
       else
        local.get $0
        local.get $3
        i32.eq
        br_if $while-break|0
        local.get $0
        i32.load8_u
        i32.const 63
        i32.and
        local.get $5
        i32.const 7
        i32.and
        i32.const 18
        i32.shl
        local.get $6
        i32.const 12
        i32.shl
        i32.or
        local.get $2
        i32.const 6
        i32.shl
        i32.or
        i32.or
        local.set $2
        local.get $0
        i32.const 1
        i32.add
        local.set $0
       end
       local.get $2
       i32.const 65536
       i32.lt_u
       if
        local.get $1
        local.get $2
        i32.store16
       else
        local.get $1
        local.get $2
        i32.const 65536
        i32.sub
        local.tee $2
        i32.const 10
        i32.shr_u
        i32.const 55296
        i32.or
        local.get $2
        i32.const 1023
        i32.and
        i32.const 56320
        i32.or
        i32.const 16
        i32.shl
        i32.or
        i32.store
        local.get $1
        i32.const 2
        i32.add
        local.set $1
       end
      end
     else
      local.get $1
      local.get $5
      i32.store16
     end
     local.get $1
     i32.const 2
     i32.add
     local.set $1
     br $while-continue|0
    end
   end
  end
  local.get $4
  local.get $1
  local.get $4
  i32.sub
  call $~lib/rt/stub/__renew
 )
 (func $~lib/staticarray/StaticArray<u8>#__get (param $0 i32) (param $1 i32) (result i32)
  local.get $1
  local.get $0
  i32.const 20
  i32.sub
  i32.load offset=16
  i32.ge_u
  if
   unreachable
  end
  local.get $0
  local.get $1
  i32.add
  i32.load8_u
 )
 (func $~lib/staticarray/StaticArray<u32>#constructor (param $0 i32) (result i32)
  (local $1 i32)
  local.get $0
  i32.const 268435455
  i32.gt_u
  if
   unreachable
  end
  local.get $0
  i32.const 2
  i32.shl
  local.tee $0
  i32.const 4
  call $~lib/rt/stub/__new
  local.tee $1
  i32.const 0
  local.get $0
  memory.fill
  local.get $1
 )
 (func $~lib/rt/stub/maybeGrowMemory (param $0 i32)
  (local $1 i32)
  (local $2 i32)
  memory.size
  local.tee $1
  i32.const 16
  i32.shl
  i32.const 15
  i32.add
  i32.const -16
  i32.and
  local.tee $2
  local.get $0
  i32.lt_u
  if
   local.get $1
   local.get $0
   local.get $2
   i32.sub
   i32.const 65535
   i32.add
   i32.const -65536
   i32.and
   i32.const 16
   i32.shr_u
   local.tee $2
   local.get $1
   local.get $2
   i32.gt_s
   select
   memory.grow
   i32.const 0
   i32.lt_s
   if
    local.get $2
    memory.grow
    i32.const 0
    i32.lt_s
    if
     unreachable
    end
   end
  end
  local.get $0
  global.set $~lib/rt/stub/offset
 )
 (func $~lib/rt/stub/__renew (param $0 i32) (param $1 i32) (result i32)
  (local $2 i32)
  (local $3 i32)
  (local $4 i32)
  (local $5 i32)
  (local $6 i32)
  local.get $1
  i32.const 1073741804
  i32.gt_u
  if
   unreachable
  end
  local.get $0
  i32.const 16
  i32.sub
  local.tee $0
  i32.const 15
  i32.and
  i32.const 1
  local.get $0
  select
  if
   unreachable
  end
  global.get $~lib/rt/stub/offset
  local.get $0
  i32.const 4
  i32.sub
  local.tee $4
  i32.load
  local.tee $3
  local.get $0
  i32.add
  i32.eq
  local.set $2
  local.get $1
  i32.const 16
  i32.add
  local.tee $6
  i32.const 19
  i32.add
  i32.const -16
  i32.and
  i32.const 4
  i32.sub
  local.set $5
  local.get $3
  local.get $6
  i32.lt_u
  if
   local.get $2
   if
    local.get $6
    i32.const 1073741820
    i32.gt_u
    if
     unreachable
    end
    local.get $0
    local.get $5
    i32.add
    call $~lib/rt/stub/maybeGrowMemory
    local.get $4
    local.get $5
    i32.store
   else
    local.get $5
    local.get $3
    i32.const 1
    i32.shl
    local.tee $2
    local.get $2
    local.get $5
    i32.lt_u
    select
    call $~lib/rt/stub/__alloc
    local.tee $2
    local.get $0
    local.get $3
    memory.copy
    local.get $2
    local.set $0
   end
  else
   local.get $2
   if
    local.get $0
    local.get $5
    i32.add
    global.set $~lib/rt/stub/offset
    local.get $4
    local.get $5
    i32.store
   end
  end
  local.get $0
  i32.const 4
  i32.sub
  local.get $1
  i32.store offset=16
  local.get $0
  i32.const 16
  i32.add
 )
 (func $~lib/arraybuffer/ArrayBuffer#slice (param $0 i32) (param $1 i32) (result i32)
  (local $2 i32)
  (local $3 i32)
  local.get $0
  call $~lib/arraybuffer/ArrayBuffer#get:byteLength
  local.tee $3
  i32.const 0
  local.get $3
  i32.const 0
  i32.le_s
  select
  local.set $2
  local.get $1
  i32.const 0
  i32.lt_s
  if (result i32)
   local.get $1
   local.get $3
   i32.add
   local.tee $1
   i32.const 0
   local.get $1
   i32.const 0
   i32.gt_s
   select
  else
   local.get $1
   local.get $3
   local.get $1
   local.get $3
   i32.lt_s
   select
  end
  local.get $2
  i32.sub
  local.tee $1
  i32.const 0
  local.get $1
  i32.const 0
  i32.gt_s
  select
  local.tee $1
  i32.const 1
  call $~lib/rt/stub/__new
  local.tee $3
  local.get $0
  local.get $2
  i32.add
  local.get $1
  memory.copy
  local.get $3
 )
 (func $~lib/arraybuffer/ArrayBuffer#constructor (param $0 i32) (result i32)
  (local $1 i32)
  local.get $0
  i32.const 1073741820
  i32.gt_u
  if
   unreachable
  end
  local.get $0
  i32.const 1
  call $~lib/rt/stub/__new
  local.tee $1
  i32.const 0
  local.get $0
  memory.fill
  local.get $1
 )
 (func $json/words (param $0 i32) (result i32)
  (local $1 i32)
  (local $2 i32)
  (local $3 i32)
  local.get $0
  i32.const 0
  call $~lib/string/String.__eq
  if (result i32)
   i32.const 1
  else
   local.get $0
   call $~lib/string/String#get:length
   i32.const 2
   i32.lt_s
  end
  if (result i32)
   i32.const 1
  else
   local.get $0
   i32.const 0
   call $~lib/string/String#charCodeAt
   i32.const 34
   i32.ne
  end
  if
   i32.const 0
   return
  end
  i32.const 64
  local.set $3
  i32.const 1
  local.set $1
  i32.const 1
  local.set $2
  loop $for-loop|0
   local.get $2
   local.get $0
   call $~lib/string/String#get:length
   i32.const 1
   i32.sub
   i32.lt_s
   if
    local.get $0
    local.get $2
    call $~lib/string/String#charCodeAt
    i32.const 92
    i32.eq
    if
     local.get $3
     local.get $0
     local.get $1
     local.get $2
     call $~lib/string/String#substring
     call $~lib/string/String.__concat
     local.set $1
     local.get $0
     local.get $2
     i32.const 1
     i32.add
     local.tee $2
     call $~lib/string/String#charCodeAt
     local.tee $3
     i32.const 117
     i32.eq
     if (result i32)
      local.get $0
      local.get $2
      i32.const 1
      i32.add
      local.get $2
      i32.const 5
      i32.add
      call $~lib/string/String#substring
      call $~lib/util/string/strtol<f64>
      i32.trunc_sat_f64_s
      local.set $3
      i32.const 1
      global.set $~argumentsLength
      local.get $2
      i32.const 4
      i32.add
      local.set $2
      local.get $1
      local.get $3
      call $~lib/string/String.fromCharCode@varargs
      call $~lib/string/String.__concat
     else
      local.get $3
      i32.const 110
      i32.eq
      if (result i32)
       local.get $1
       i32.const 96
       call $~lib/string/String.__concat
      else
       local.get $3
       i32.const 116
       i32.eq
       if (result i32)
        local.get $1
        i32.const 128
        call $~lib/string/String.__concat
       else
        local.get $3
        i32.const 114
        i32.eq
        if (result i32)
         local.get $1
         i32.const 160
         call $~lib/string/String.__concat
        else
         local.get $3
         i32.const 98
         i32.eq
         if (result i32)
          local.get $1
          i32.const 192
          call $~lib/string/String.__concat
         else
          local.get $3
          i32.const 102
          i32.eq
          if (result i32)
           local.get $1
           i32.const 224
           call $~lib/string/String.__concat
          else
           i32.const 1
           global.set $~argumentsLength
           local.get $1
           local.get $3
           call $~lib/string/String.fromCharCode@varargs
           call $~lib/string/String.__concat
          end
         end
        end
       end
      end
     end
     local.set $3
     local.get $2
     i32.const 1
     i32.add
     local.set $1
    end
    local.get $2
    i32.const 1
    i32.add
    local.set $2
    br $for-loop|0
   end
  end
  local.get $3
  local.get $0
  local.get $1
  local.get $0
  call $~lib/string/String#get:length
  i32.const 1
  i32.sub
  call $~lib/string/String#substring
  call $~lib/string/String.__concat
 )
 (func $json/whole (param $0 i32) (result i32)
  (local $1 i32)
  (local $2 i32)
  (local $3 i32)
  local.get $0
  i32.const 0
  call $~lib/string/String.__eq
  if (result i32)
   i32.const 0
  else
   local.get $0
   call $~lib/string/String#get:length
  end
  if (result i32)
   local.get $0
   call $~lib/string/String#get:length
   i32.const 9
   i32.gt_s
  else
   i32.const 1
  end
  if
   i32.const -1
   return
  end
  loop $for-loop|0
   local.get $0
   call $~lib/string/String#get:length
   local.get $1
   i32.gt_s
   if
    local.get $0
    local.get $1
    call $~lib/string/String#charCodeAt
    i32.const 48
    i32.sub
    local.tee $2
    i32.const 0
    i32.lt_s
    local.get $2
    i32.const 9
    i32.gt_s
    i32.or
    if
     i32.const -1
     return
    end
    local.get $3
    i32.const 10
    i32.mul
    local.get $2
    i32.add
    local.set $3
    local.get $1
    i32.const 1
    i32.add
    local.set $1
    br $for-loop|0
   end
  end
  local.get $3
 )
 (func $json/skipValue (param $0 i32) (param $1 i32) (result i32)
  (local $2 i32)
  (local $3 i32)
  loop $for-loop|0
   local.get $0
   call $~lib/string/String#get:length
   local.get $1
   i32.gt_s
   if
    local.get $0
    local.get $1
    call $~lib/string/String#charCodeAt
    local.tee $3
    i32.const 34
    i32.eq
    if
     local.get $0
     local.get $1
     call $json/skipString
     i32.const 1
     i32.sub
     local.set $1
     local.get $2
     i32.eqz
     if
      local.get $1
      i32.const 1
      i32.add
      return
     end
    else
     local.get $3
     i32.const 91
     i32.eq
     local.get $3
     i32.const 123
     i32.eq
     i32.or
     if
      local.get $2
      i32.const 1
      i32.add
      local.set $2
     else
      local.get $3
      i32.const 93
      i32.eq
      local.get $3
      i32.const 125
      i32.eq
      i32.or
      if
       local.get $2
       i32.eqz
       if
        local.get $1
        return
       end
       local.get $2
       i32.const 1
       i32.sub
       local.tee $2
       i32.eqz
       if
        local.get $1
        i32.const 1
        i32.add
        return
       end
      else
       local.get $2
       i32.eqz
       local.get $3
       i32.const 44
       i32.eq
       i32.and
       if
        local.get $1
        return
       end
      end
     end
    end
    local.get $1
    i32.const 1
    i32.add
    local.set $1
    br $for-loop|0
   end
  end
  local.get $0
  call $~lib/string/String#get:length
 )
 (func $json/skipString (param $0 i32) (param $1 i32) (result i32)
  (local $2 i32)
  local.get $1
  i32.const 1
  i32.add
  local.set $1
  loop $for-loop|0
   local.get $0
   call $~lib/string/String#get:length
   local.get $1
   i32.gt_s
   if
    local.get $0
    local.get $1
    call $~lib/string/String#charCodeAt
    local.tee $2
    i32.const 92
    i32.eq
    if
     local.get $1
     i32.const 1
     i32.add
     local.set $1
    else
     local.get $2
     i32.const 34
     i32.eq
     if
      local.get $1
      i32.const 1
      i32.add
      return
     end
    end
    local.get $1
    i32.const 1
    i32.add
    local.set $1
    br $for-loop|0
   end
  end
  local.get $0
  call $~lib/string/String#get:length
 )
 (func $~start
  i32.const 540
  global.set $~lib/rt/stub/offset
 )
 (func $~lib/util/string/strtol<f64> (param $0 i32) (result f64)
  (local $1 i32)
  (local $2 i32)
  (local $3 f64)
  (local $4 f64)
  (local $5 i32)
  (local $6 i32)
  local.get $0
  call $~lib/string/String#get:length
  local.tee $1
  i32.eqz
  if
   f64.const nan:0x8000000000000
   return
  end
  local.get $0
  local.tee $2
  i32.load16_u
  local.set $0
  loop $while-continue|0
   block $__inlined_func$~lib/util/string/isSpace$12 (result i32)
    local.get $0
    i32.const 128
    i32.or
    i32.const 160
    i32.eq
    local.get $0
    i32.const 9
    i32.sub
    i32.const 4
    i32.le_u
    i32.or
    local.get $0
    i32.const 5760
    i32.lt_u
    br_if $__inlined_func$~lib/util/string/isSpace$12
    drop
    i32.const 1
    local.get $0
    i32.const -8192
    i32.add
    i32.const 10
    i32.le_u
    br_if $__inlined_func$~lib/util/string/isSpace$12
    drop
    i32.const 1
    local.get $0
    i32.const 5760
    i32.eq
    local.get $0
    i32.const 8232
    i32.eq
    i32.or
    local.get $0
    i32.const 8233
    i32.eq
    local.get $0
    i32.const 8239
    i32.eq
    i32.or
    i32.or
    local.get $0
    i32.const 8287
    i32.eq
    local.get $0
    i32.const 12288
    i32.eq
    i32.or
    local.get $0
    i32.const 65279
    i32.eq
    i32.or
    i32.or
    br_if $__inlined_func$~lib/util/string/isSpace$12
    drop
    i32.const 0
   end
   if
    local.get $2
    i32.const 2
    i32.add
    local.tee $2
    i32.load16_u
    local.set $0
    local.get $1
    i32.const 1
    i32.sub
    local.set $1
    br $while-continue|0
   end
  end
  f64.const 1
  local.set $3
  local.get $0
  i32.const 43
  i32.eq
  local.get $0
  i32.const 45
  i32.eq
  i32.or
  if (result i32)
   local.get $1
   i32.const 1
   i32.sub
   local.tee $1
   i32.eqz
   if
    f64.const nan:0x8000000000000
    return
   end
   f64.const -1
   f64.const 1
   local.get $0
   i32.const 45
   i32.eq
   select
   local.set $3
   local.get $2
   i32.const 2
   i32.add
   local.tee $2
   i32.load16_u
  else
   local.get $0
  end
  i32.const 48
  i32.eq
  local.get $1
  i32.const 2
  i32.gt_s
  i32.and
  if (result i32)
   local.get $2
   i32.load16_u offset=2
   i32.const 32
   i32.or
   i32.const 120
   i32.eq
  else
   i32.const 0
  end
  if
   local.get $2
   i32.const 4
   i32.add
   local.set $2
   local.get $1
   i32.const 2
   i32.sub
   local.set $1
  end
  local.get $1
  i32.const 1
  i32.sub
  local.set $5
  loop $while-continue|2
   local.get $1
   local.tee $0
   i32.const 1
   i32.sub
   local.set $1
   local.get $0
   if
    block $while-break|2
     local.get $2
     i32.load16_u
     local.tee $0
     i32.const 48
     i32.sub
     local.tee $6
     local.get $0
     i32.const 55
     i32.sub
     local.get $0
     i32.const 87
     i32.sub
     local.get $0
     local.get $0
     i32.const 97
     i32.sub
     i32.const 25
     i32.le_u
     select
     local.get $0
     i32.const 65
     i32.sub
     i32.const 25
     i32.le_u
     select
     local.get $6
     i32.const 10
     i32.lt_u
     select
     local.tee $0
     i32.const 16
     i32.ge_u
     if
      local.get $1
      local.get $5
      i32.eq
      if
       f64.const nan:0x8000000000000
       return
      end
      br $while-break|2
     end
     local.get $4
     f64.const 16
     f64.mul
     local.get $0
     f64.convert_i32_u
     f64.add
     local.set $4
     local.get $2
     i32.const 2
     i32.add
     local.set $2
     br $while-continue|2
    end
   end
  end
  local.get $3
  local.get $4
  f64.mul
 )
 (func $~lib/string/String.UTF8.encodeUnsafe (param $0 i32) (param $1 i32) (param $2 i32)
  (local $3 i32)
  (local $4 i32)
  local.get $0
  local.get $1
  i32.const 1
  i32.shl
  i32.add
  local.set $3
  local.get $2
  local.set $1
  loop $while-continue|0
   local.get $0
   local.get $3
   i32.lt_u
   if
    local.get $0
    i32.load16_u
    local.tee $2
    i32.const 128
    i32.lt_u
    if (result i32)
     local.get $1
     local.get $2
     i32.store8
     local.get $1
     i32.const 1
     i32.add
    else
     local.get $2
     i32.const 2048
     i32.lt_u
     if (result i32)
      local.get $1
      local.get $2
      i32.const 6
      i32.shr_u
      i32.const 192
      i32.or
      local.get $2
      i32.const 63
      i32.and
      i32.const 128
      i32.or
      i32.const 8
      i32.shl
      i32.or
      i32.store16
      local.get $1
      i32.const 2
      i32.add
     else
      local.get $2
      i32.const 56320
      i32.lt_u
      local.get $0
      i32.const 2
      i32.add
      local.get $3
      i32.lt_u
      i32.and
      local.get $2
      i32.const 63488
      i32.and
      i32.const 55296
      i32.eq
      i32.and
      if
       local.get $0
       i32.load16_u offset=2
       local.tee $4
       i32.const 64512
       i32.and
       i32.const 56320
       i32.eq
       if
        local.get $1
        local.get $2
        i32.const 1023
        i32.and
        i32.const 10
        i32.shl
        i32.const 65536
        i32.add
        local.get $4
        i32.const 1023
        i32.and
        i32.or
        local.tee $2
        i32.const 63
        i32.and
        i32.const 128
        i32.or
        i32.const 24
        i32.shl
        local.get $2
        i32.const 6
        i32.shr_u
        i32.const 63
        i32.and
        i32.const 128
        i32.or
        i32.const 16
        i32.shl
        i32.or
        local.get $2
        i32.const 12
        i32.shr_u
        i32.const 63
        i32.and
        i32.const 128
        i32.or
        i32.const 8
        i32.shl
        i32.or
        local.get $2
        i32.const 18
        i32.shr_u
        i32.const 240
        i32.or
        i32.or
        i32.store
        local.get $1
        i32.const 4
        i32.add
        local.set $1
        local.get $0
        i32.const 4
        i32.add
        local.set $0
        br $while-continue|0
       end
      end
      local.get $1
      local.get $2
      i32.const 12
      i32.shr_u
      i32.const 224
      i32.or
      local.get $2
      i32.const 6
      i32.shr_u
      i32.const 63
      i32.and
      i32.const 128
      i32.or
      i32.const 8
      i32.shl
      i32.or
      i32.store16
      local.get $1
      local.get $2
      i32.const 63
      i32.and
      i32.const 128
      i32.or
      i32.store8 offset=2
      local.get $1
      i32.const 3
      i32.add
     end
    end
    local.set $1
    local.get $0
    i32.const 2
    i32.add
    local.set $0
    br $while-continue|0
   end
  end
 )
 (func $realm/realm_free (param $0 i32) (param $1 i32)
  local.get $0
  i32.const 15
  i32.and
  i32.const 1
  local.get $0
  select
  if
   unreachable
  end
  global.get $~lib/rt/stub/offset
  local.get $0
  local.get $0
  i32.const 4
  i32.sub
  local.tee $1
  i32.load
  i32.add
  i32.eq
  if
   local.get $1
   global.set $~lib/rt/stub/offset
  end
 )
 (func $realm/realm_alloc (param $0 i32) (result i32)
  local.get $0
  call $~lib/rt/stub/__alloc
 )
 (func $realm/realm_abi_version (result i32)
  i32.const 1
 )
 (func $first_sentence/realm_handle (param $0 i32) (param $1 i32) (result i32)
  (local $2 i32)
  (local $3 i32)
  (local $4 i32)
  (local $5 i32)
  (local $6 i32)
  (local $7 i32)
  (local $8 i32)
  (local $9 i32)
  (local $10 i32)
  (local $11 i32)
  (local $12 i32)
  local.get $0
  local.get $1
  call $~lib/string/String.UTF8.decodeUnsafe
  local.tee $0
  i32.const 32
  call $json/member
  call $json/words
  local.set $1
  local.get $0
  i32.const 256
  call $json/member
  local.set $9
  local.get $1
  i32.const 0
  call $~lib/string/String.__eq
  if (result i32)
   i32.const 1
  else
   local.get $9
   i32.const 0
   call $~lib/string/String.__eq
  end
  if
   i32.const -9
   return
  end
  i32.const 1
  global.set $~argumentsLength
  local.get $1
  call $~lib/string/String.UTF8.encode@varargs
  local.tee $1
  local.get $1
  call $~lib/arraybuffer/ArrayBuffer#get:byteLength
  call $realm/realm_host_load_model_by_name
  local.tee $4
  i32.const 0
  i32.lt_s
  if
   local.get $4
   return
  end
  local.get $4
  local.get $0
  call $first_sentence/encode
  local.tee $0
  i32.eqz
  if
   i32.const -9
   return
  end
  local.get $4
  call $first_sentence/endTokens
  local.set $7
  local.get $4
  call $realm/realm_session_open
  local.tee $5
  i32.const 0
  i32.lt_s
  if
   local.get $5
   return
  end
  local.get $5
  local.get $0
  local.get $0
  call $~lib/staticarray/StaticArray<u32>#get:length
  call $realm/realm_session_prefill
  local.tee $0
  i32.const 0
  i32.lt_s
  if
   local.get $0
   return
  end
  i32.const 1
  call $~lib/staticarray/StaticArray<u32>#constructor
  local.set $6
  i32.const 1028
  i32.const 7
  call $~lib/rt/stub/__new
  local.tee $3
  i32.const 0
  i32.const 1028
  memory.fill
  local.get $9
  i32.const 512
  call $json/member
  call $json/whole
  local.set $9
  loop $for-loop|0
   local.get $8
   local.get $9
   i32.lt_s
   if
    block $for-break0
     local.get $5
     i32.const 0
     local.get $6
     i32.const 1
     call $realm/realm_session_sample
     local.tee $0
     i32.const 0
     i32.lt_s
     if
      local.get $0
      return
     end
     i32.const 0
     local.set $1
     local.get $6
     call $~lib/staticarray/StaticArray<u32>#get:length
     i32.eqz
     if
      unreachable
     end
     local.get $6
     i32.load
     local.set $10
     i32.const -1
     local.set $0
     block $__inlined_func$~lib/array/Array<i32>#indexOf$44
      local.get $7
      i32.load offset=12
      local.tee $11
      i32.eqz
      local.get $11
      i32.const 0
      i32.le_s
      i32.or
      br_if $__inlined_func$~lib/array/Array<i32>#indexOf$44
      local.get $7
      i32.load offset=4
      local.set $12
      loop $while-continue|0
       local.get $1
       local.get $11
       i32.lt_s
       if
        local.get $12
        local.get $1
        local.tee $0
        i32.const 2
        i32.shl
        i32.add
        i32.load
        local.get $10
        i32.eq
        br_if $__inlined_func$~lib/array/Array<i32>#indexOf$44
        local.get $0
        i32.const 1
        i32.add
        local.set $1
        br $while-continue|0
       end
      end
      i32.const -1
      local.set $0
     end
     local.get $0
     i32.const 0
     i32.ge_s
     br_if $for-break0
     local.get $4
     local.get $6
     i32.const 1
     local.get $2
     local.get $3
     i32.add
     i32.const 1024
     call $realm/realm_decode_tokens
     local.tee $0
     i32.const 0
     i32.lt_s
     if
      local.get $0
      return
     end
     local.get $0
     i32.const 0
     i32.gt_s
     if (result i32)
      local.get $3
      local.get $0
      local.get $2
      i32.add
      i32.const 1
      i32.sub
      call $~lib/staticarray/StaticArray<u8>#__get
     else
      i32.const 0
     end
     local.set $10
     block $__inlined_func$first_sentence/stream$4 (result i32)
      local.get $0
      local.get $2
      i32.add
      local.tee $2
      local.set $0
      i32.const 1
      local.set $1
      loop $for-loop|00
       local.get $1
       i32.const 3
       local.get $2
       local.get $2
       i32.const 3
       i32.gt_s
       select
       i32.le_s
       if
        block $for-break01
         local.get $3
         local.get $2
         local.get $1
         i32.sub
         local.tee $11
         call $~lib/staticarray/StaticArray<u8>#__get
         local.tee $12
         i32.const 128
         i32.lt_u
         br_if $for-break01
         local.get $12
         i32.const 192
         i32.ge_u
         if
          local.get $11
          local.get $0
          i32.const 4
          i32.const 3
          i32.const 2
          local.get $12
          i32.const 224
          i32.ge_u
          select
          local.get $12
          i32.const 240
          i32.ge_u
          select
          local.get $1
          i32.gt_s
          select
          local.set $0
          br $for-break01
         end
         local.get $1
         i32.const 1
         i32.add
         local.set $1
         br $for-loop|00
        end
       end
      end
      i32.const -1
      local.get $0
      i32.const 0
      i32.gt_s
      if (result i32)
       local.get $3
       local.get $0
       call $realm/realm_stream_token
       i32.const 0
       i32.lt_s
      else
       i32.const 0
      end
      br_if $__inlined_func$first_sentence/stream$4
      drop
      local.get $3
      local.get $0
      local.get $3
      i32.add
      local.get $2
      local.get $0
      i32.sub
      local.tee $0
      memory.copy
      local.get $0
     end
     local.tee $2
     i32.const 0
     i32.lt_s
     if
      i32.const -8
      return
     end
     local.get $10
     i32.const 33
     i32.eq
     local.get $10
     i32.const 46
     i32.eq
     i32.or
     local.get $10
     i32.const 63
     i32.eq
     i32.or
     br_if $for-break0
     local.get $8
     i32.const 1
     i32.add
     local.set $8
     br $for-loop|0
    end
   end
  end
  local.get $5
  call $realm/realm_session_close
 )
 (func $first_sentence/endTokens (param $0 i32) (result i32)
  (local $1 i32)
  (local $2 i32)
  (local $3 i32)
  (local $4 i32)
  (local $5 i32)
  (local $6 i32)
  (local $7 i32)
  (local $8 i32)
  (local $9 i32)
  local.get $0
  i32.const 65536
  call $~lib/arraybuffer/ArrayBuffer#constructor
  local.tee $0
  local.get $0
  call $~lib/arraybuffer/ArrayBuffer#get:byteLength
  call $realm/realm_get_model_metadata
  local.tee $1
  i32.const 0
  i32.lt_s
  if
   i32.const 0
   i32.const 6
   i32.const 384
   call $~lib/rt/__newArray
   return
  end
  local.get $0
  local.get $1
  call $~lib/arraybuffer/ArrayBuffer#slice
  local.tee $0
  local.get $0
  call $~lib/arraybuffer/ArrayBuffer#get:byteLength
  call $~lib/string/String.UTF8.decodeUnsafe
  i32.const 416
  call $json/member
  local.set $6
  i32.const 0
  i32.const 6
  i32.const 480
  call $~lib/rt/__newArray
  local.set $5
  local.get $6
  i32.const 0
  call $~lib/string/String.__eq
  i32.eqz
  if
   local.get $6
   i32.const 1
   call $json/skipSpace
   local.set $0
   loop $while-continue|0
    local.get $6
    call $~lib/string/String#get:length
    local.get $0
    i32.gt_s
    if (result i32)
     local.get $6
     local.get $0
     call $~lib/string/String#charCodeAt
     i32.const 93
     i32.ne
    else
     i32.const 0
    end
    if
     local.get $6
     local.get $0
     local.get $6
     local.get $0
     call $json/skipValue
     local.tee $0
     call $~lib/string/String#substring
     call $json/whole
     local.set $1
     local.get $5
     i32.load offset=12
     local.tee $2
     i32.const 1
     i32.add
     local.tee $3
     local.get $5
     i32.load offset=8
     local.tee $7
     i32.const 2
     i32.shr_u
     i32.gt_u
     if
      local.get $3
      i32.const 268435455
      i32.gt_u
      if
       unreachable
      end
      local.get $7
      local.get $5
      i32.load
      local.tee $4
      i32.const 1073741820
      local.get $7
      i32.const 1
      i32.shl
      local.tee $8
      local.get $8
      i32.const 1073741820
      i32.ge_u
      select
      local.tee $8
      i32.const 8
      local.get $3
      local.get $3
      i32.const 8
      i32.le_u
      select
      i32.const 2
      i32.shl
      local.tee $9
      local.get $8
      local.get $9
      i32.gt_u
      select
      local.tee $8
      call $~lib/rt/stub/__renew
      local.tee $9
      i32.add
      i32.const 0
      local.get $8
      local.get $7
      i32.sub
      memory.fill
      local.get $4
      local.get $9
      i32.ne
      if
       local.get $5
       local.get $9
       i32.store
       local.get $5
       local.get $9
       i32.store offset=4
      end
      local.get $5
      local.get $8
      i32.store offset=8
     end
     local.get $5
     i32.load offset=4
     local.get $2
     i32.const 2
     i32.shl
     i32.add
     local.get $1
     i32.store
     local.get $5
     local.get $3
     i32.store offset=12
     local.get $6
     local.get $6
     local.get $0
     call $json/skipSpace
     i32.const 1
     i32.add
     call $json/skipSpace
     local.set $0
     br $while-continue|0
    end
   end
  end
  local.get $5
 )
 (func $first_sentence/encode (param $0 i32) (param $1 i32) (result i32)
  (local $2 i32)
  (local $3 i32)
  local.get $1
  i32.const 304
  call $json/member
  local.set $3
  local.get $1
  i32.const 352
  call $json/member
  call $json/words
  local.set $1
  i32.const 1
  local.set $2
  local.get $3
  call $~lib/string/String.__ne
  if (result i32)
   i32.const 1
   global.set $~argumentsLength
   local.get $3
   call $~lib/string/String.UTF8.encode@varargs
   local.tee $1
   call $~lib/arraybuffer/ArrayBuffer#get:byteLength
   i32.const 1
   i32.shl
   i32.const 65536
   i32.add
   call $~lib/arraybuffer/ArrayBuffer#constructor
   local.set $3
   local.get $0
   local.get $1
   local.get $1
   call $~lib/arraybuffer/ArrayBuffer#get:byteLength
   local.get $3
   local.get $3
   call $~lib/arraybuffer/ArrayBuffer#get:byteLength
   call $realm/realm_render_chat
   local.tee $1
   i32.const 0
   i32.lt_s
   if
    i32.const 0
    return
   end
   i32.const 2
   local.set $2
   local.get $3
   local.get $1
   call $~lib/arraybuffer/ArrayBuffer#slice
  else
   local.get $1
   call $~lib/string/String.__ne
   if (result i32)
    i32.const 1
    global.set $~argumentsLength
    local.get $1
    call $~lib/string/String.UTF8.encode@varargs
   else
    i32.const 0
    return
   end
  end
  local.tee $3
  call $~lib/arraybuffer/ArrayBuffer#get:byteLength
  i32.const 16
  i32.add
  call $~lib/staticarray/StaticArray<u32>#constructor
  local.set $1
  local.get $0
  local.get $3
  local.get $3
  call $~lib/arraybuffer/ArrayBuffer#get:byteLength
  local.get $2
  local.get $1
  local.get $1
  call $~lib/staticarray/StaticArray<u32>#get:length
  call $realm/realm_encode_text
  local.tee $0
  i32.const 0
  i32.lt_s
  if
   i32.const 0
   local.set $0
  else
   local.get $1
   call $~lib/staticarray/StaticArray<u32>#get:length
   local.tee $2
   i32.const 0
   local.get $2
   i32.const 0
   i32.le_s
   select
   local.set $3
   local.get $0
   i32.const 0
   i32.lt_s
   if (result i32)
    local.get $0
    local.get $2
    i32.add
    local.tee $0
    i32.const 0
    local.get $0
    i32.const 0
    i32.gt_s
    select
   else
    local.get $0
    local.get $2
    local.get $0
    local.get $2
    i32.lt_s
    select
   end
   local.get $3
   i32.sub
   local.tee $0
   i32.const 0
   local.get $0
   i32.const 0
   i32.gt_s
   select
   local.tee $0
   i32.const 5
   i32.const 0
   call $~lib/rt/__newArray
   local.tee $2
   i32.load offset=4
   local.get $1
   local.get $3
   i32.const 2
   i32.shl
   i32.add
   local.get $0
   i32.const 2
   i32.shl
   memory.copy
   local.get $2
   i32.load offset=12
   i32.const 2
   i32.shl
   local.tee $1
   i32.const 4
   call $~lib/rt/stub/__new
   local.tee $0
   local.get $2
   i32.load offset=4
   local.get $1
   memory.copy
  end
  local.get $0
 )
)
