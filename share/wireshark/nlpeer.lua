-- SPDX-License-Identifier: MIT
--
-- A Wireshark dissector for the two protocols of nlpeer: the raw protocol
-- NETLINK_TEST, which Wireshark does not know, and the generic netlink family
-- nlpeer. It also shows the extended acknowledgments of all netlink protocols,
-- which Wireshark leaves out.
--
--   tshark -X lua_script:share/wireshark/nlpeer.lua -r events.pcapng
--
-- To have it always, copy this file and nlpeer_gen.lua into the folder "Personal
-- Lua Plugins" that Wireshark shows under Help, About, Folders.
--
-- Wireshark knows the number of the family from what nlctrl says in the same
-- capture; nlecho and nlsub record that with --write. What is where in the tables
-- of Wireshark's own dissector (packet-netlink.c, packet-netlink-generic.c):
-- netlink.protocol hands over a message with its header, but no acknowledgments,
-- and none of a header alone; genl.family hands over what follows nlmsghdr.

local here = debug.getinfo(1, "S").source:match("^@(.*/)") or (__DIR__ and __DIR__ .. "/") or ""
local spec = dofile(here .. "nlpeer_gen.lua")

-- Attributes that are netlink's own (enum nlmsgerr_attrs and enum
-- netlink_policy_type_attr in linux/netlink.h).
local ack = {
  sets = {
    ["netlink_ack"] = {
      [1] = { name = "msg", c = "NLMSGERR_ATTR_MSG", type = "string" },
      [2] = { name = "offs", c = "NLMSGERR_ATTR_OFFS", type = "u32" },
      [3] = { name = "cookie", c = "NLMSGERR_ATTR_COOKIE", type = "binary" },
      [4] = { name = "policy", c = "NLMSGERR_ATTR_POLICY", type = "nest", nest = "policy" },
      [5] = { name = "miss-type", c = "NLMSGERR_ATTR_MISS_TYPE", type = "u32" },
      [6] = { name = "miss-nest", c = "NLMSGERR_ATTR_MISS_NEST", type = "u32" },
    },
    ["policy"] = {
      [1] = { name = "type", c = "NL_POLICY_TYPE_ATTR_TYPE", type = "u32", enum = "policy-type" },
      [2] = { name = "min-value-s", c = "NL_POLICY_TYPE_ATTR_MIN_VALUE_S", type = "s64" },
      [3] = { name = "max-value-s", c = "NL_POLICY_TYPE_ATTR_MAX_VALUE_S", type = "s64" },
      [4] = { name = "min-value-u", c = "NL_POLICY_TYPE_ATTR_MIN_VALUE_U", type = "u64" },
      [5] = { name = "max-value-u", c = "NL_POLICY_TYPE_ATTR_MAX_VALUE_U", type = "u64" },
      [6] = { name = "min-length", c = "NL_POLICY_TYPE_ATTR_MIN_LENGTH", type = "u32" },
      [7] = { name = "max-length", c = "NL_POLICY_TYPE_ATTR_MAX_LENGTH", type = "u32" },
      [10] = { name = "bitfield32-mask", c = "NL_POLICY_TYPE_ATTR_BITFIELD32_MASK", type = "u32" },
      [11] = { name = "pad", c = "NL_POLICY_TYPE_ATTR_PAD", type = "pad" },
      [12] = { name = "mask", c = "NL_POLICY_TYPE_ATTR_MASK", type = "u64" },
    },
  },
}
spec.enums["policy-type"] = { flags = false, values = {
  [0] = "NL_ATTR_TYPE_INVALID", "NL_ATTR_TYPE_FLAG", "NL_ATTR_TYPE_U8", "NL_ATTR_TYPE_U16", "NL_ATTR_TYPE_U32",
  "NL_ATTR_TYPE_U64", "NL_ATTR_TYPE_S8", "NL_ATTR_TYPE_S16", "NL_ATTR_TYPE_S32", "NL_ATTR_TYPE_S64",
  "NL_ATTR_TYPE_BINARY", "NL_ATTR_TYPE_STRING", "NL_ATTR_TYPE_NUL_STRING", "NL_ATTR_TYPE_NESTED",
  "NL_ATTR_TYPE_NESTED_ARRAY", "NL_ATTR_TYPE_BITFIELD32", "NL_ATTR_TYPE_SINT", "NL_ATTR_TYPE_UINT" } }

local raw_proto = Proto("netlink_test", "NETLINK_TEST of nlpeer")
local genl_proto = Proto("nlpeer", "generic netlink family nlpeer")
local ack_proto = Proto("netlink_ack", "netlink extended acknowledgment")

-- The number of the raw protocol, if the module was loaded with another.
raw_proto.prefs.number = Pref.uint("Protocol number", spec.protocol, "protocol= of the module, 23 to 31")

local integers = {
  u8 = { 1, ProtoField.uint8 }, u16 = { 2, ProtoField.uint16 }, u32 = { 4, ProtoField.uint32 }, u64 = { 8, ProtoField.uint64 },
  s8 = { 1, ProtoField.int8 }, s16 = { 2, ProtoField.int16 }, s32 = { 4, ProtoField.int32 }, s64 = { 8, ProtoField.int64 },
}

local function words(text) return (text:gsub("-", "_")) end

-- field makes the field of an attribute's value, nil if it has none.
local function field(prefix, set, a)
  local abbr = words(set == prefix and prefix .. "." .. a.name or prefix .. "." .. set .. "." .. a.name)
  local enum = a.enum and spec.enums[a.enum]
  if integers[a.type] then
    if enum and enum.flags then return integers[a.type][2](abbr, a.name, base.HEX) end
    return integers[a.type][2](abbr, a.name, base.DEC, enum and enum.values or nil)
  elseif a.type == "string" then
    return ProtoField.string(abbr, a.name)
  elseif a.type ~= "nest" and a.type ~= "pad" then
    return ProtoField.bytes(abbr, a.name)
  end
end

-- fields gives a protocol the fields of its sets, and returns them.
local function fields(proto, prefix, sets, more)
  local all = {}
  for set, attrs in pairs(sets) do
    for _, a in pairs(attrs) do
      a.field = field(prefix, set, a)
      if a.field then table.insert(all, a.field) end
    end
  end
  for _, f in pairs(more) do table.insert(all, f) end
  proto.fields = all
  return more
end

local function names(ops)
  local all = {}
  for number, op in pairs(ops) do all[number] = op.c end
  return all
end

local raw = fields(raw_proto, "netlink_test", spec.raw.sets, {
  length = ProtoField.uint32("netlink_test.length", "nlmsg_len", base.DEC),
  type = ProtoField.uint16("netlink_test.type", "nlmsg_type", base.DEC, names(spec.raw.ops)),
  flags = ProtoField.uint16("netlink_test.flags", "nlmsg_flags", base.HEX),
  request = ProtoField.bool("netlink_test.flags.request", "NLM_F_REQUEST", 16, nil, 0x1),
  multi = ProtoField.bool("netlink_test.flags.multi", "NLM_F_MULTI", 16, nil, 0x2),
  ack = ProtoField.bool("netlink_test.flags.ack", "NLM_F_ACK", 16, nil, 0x4),
  echo = ProtoField.bool("netlink_test.flags.echo", "NLM_F_ECHO", 16, nil, 0x8),
  seq = ProtoField.uint32("netlink_test.seq", "nlmsg_seq", base.DEC),
  pid = ProtoField.uint32("netlink_test.pid", "nlmsg_pid", base.DEC),
  payload = ProtoField.bytes("netlink_test.payload", "payload"),
  text = ProtoField.string("netlink_test.text", "as text"),
})
local genl = fields(genl_proto, "nlpeer", spec.genl.sets, {
  cmd = ProtoField.uint8("nlpeer.cmd", "cmd", base.DEC, names(spec.genl.ops)),
  version = ProtoField.uint8("nlpeer.version", "version", base.DEC),
  reserved = ProtoField.uint16("nlpeer.reserved", "reserved", base.DEC),
})
fields(ack_proto, "netlink_ack", ack.sets, {})

local malformed = ProtoExpert.new("netlink_test.malformed", "wrong length", expert.group.MALFORMED, expert.severity.ERROR)
raw_proto.experts = { malformed }

-- Netlink has the byte order of its machine. The upper half of a length is 0, and
-- so tells it.
local little = true
local function uint(range) return little and range:le_uint() or range:uint() end
local function add(tree, f, range) return little and tree:add_le(f, range) or tree:add(f, range) end

local function aligned(n) return n + (4 - n % 4) % 4 end

-- flag_names names the bits of a value.
local function flag_names(enum, v)
  local all, bits = {}, {}
  for bit in pairs(enum.values) do table.insert(bits, bit) end
  table.sort(bits)
  for _, bit in ipairs(bits) do
    if math.floor(v / bit) % 2 == 1 then table.insert(all, enum.values[bit]) end
  end
  return table.concat(all, " | ")
end

-- stringz returns the text in a range, which a NUL ends or its last byte. That of
-- Wireshark looks for the NUL beyond the range.
local function stringz(range)
  local s = range:string()
  local nul = s:find("\0", 1, true)
  return nul and s:sub(1, nul - 1) or s
end

local attrs

-- value shows the value of an attribute.
local function value(tree, t, a, range, depth)
  local int = integers[a.type]
  if a.type == "nest" and depth < 16 then
    attrs(tree, t, t.sets[a.nest], range, depth + 1)
  elseif not a.field then
    return
  elseif int and range:len() ~= int[1] then
    tree:add_tvb_expert_info(malformed, range, a.type .. " of " .. range:len() .. " bytes")
  elseif int then
    local item = add(tree, a.field, range)
    local enum = a.enum and spec.enums[a.enum]
    if enum and enum.flags then item:append_text(" " .. flag_names(enum, uint(range))) end
  elseif a.type == "string" then
    tree:add(a.field, range, stringz(range))
  else
    tree:add(a.field, range)
  end
end

-- attrs shows the attributes of a set in a range, which may be nil.
attrs = function(tree, t, set, range, depth)
  local at = 0
  while range and at < range:len() do
    local left = range:len() - at
    local len = left >= 4 and uint(range(at, 2)) or 0
    if len < 4 or len > left then
      tree:add_tvb_expert_info(malformed, range(at), "no attribute: " .. left .. " bytes are left")
      return
    end
    local typ = uint(range(at + 2, 2)) % 0x4000
    local a = set and set[typ] or { name = "unknown", c = "unknown", type = "unknown" }
    local item = tree:add(range(at, math.min(aligned(len), left)), string.format("%s: %d %s, %d bytes", a.name, typ, a.c, len))
    -- A range can not be empty.
    if len > 4 then value(item, t, a, range(at + 4, len - 4), depth) end
    at = at + aligned(len)
  end
end

-- rest returns what of a buffer begins at an offset, nil if nothing does.
local function rest(tvb, at)
  if at < tvb:len() then return tvb(at) end
end

function raw_proto.dissector(tvb, pinfo, tree)
  if tvb:len() < 16 then return 0 end
  little = tvb(0, 4):le_uint() < 0x1000000
  local typ, flags = uint(tvb(4, 2)), uint(tvb(6, 2))
  local op = spec.raw.ops[typ]
  local name = op and op.name or "type " .. typ

  local top = tree:add(raw_proto, tvb(), "NETLINK_TEST " .. name)
  local header = top:add(tvb(0, 16), "nlmsghdr")
  add(header, raw.length, tvb(0, 4))
  add(header, raw.type, tvb(4, 2))
  local bits = add(header, raw.flags, tvb(6, 2))
  for _, f in ipairs({ raw.request, raw.multi, raw.ack, raw.echo }) do add(bits, f, tvb(6, 2)) end
  add(header, raw.seq, tvb(8, 4))
  add(header, raw.pid, tvb(12, 4))

  local body = rest(tvb, 16)
  pinfo.cols.protocol = "NETLINK_TEST"
  pinfo.cols.info = string.format("%s%s, %d bytes", name, flags % 2 == 1 and " request" or "", tvb:len() - 16)
  if not body then
    return tvb:len()
  elseif op and op.set then
    attrs(top, spec.raw, spec.raw.sets[op.set], body, 0)
  else
    top:add(raw.payload, body)
    local text = body:string()
    if text:match("^[%g ]+$") then top:add(raw.text, body, text):set_generated() end
  end
  return tvb:len()
end

function genl_proto.dissector(tvb, pinfo, tree)
  if tvb:len() < 4 then return 0 end
  local op = spec.genl.ops[tvb(0, 1):uint()]
  local name = op and op.name or "command " .. tvb(0, 1):uint()
  if tvb:len() >= 6 then little = tvb(4, 2):le_uint() <= tvb:len() end

  local top = tree:add(genl_proto, tvb(), "nlpeer " .. name)
  local header = top:add(tvb(0, 4), "genlmsghdr")
  header:add(genl.cmd, tvb(0, 1))
  header:add(genl.version, tvb(1, 1))
  add(header, genl.reserved, tvb(2, 2))
  attrs(top, spec.genl, op and spec.genl.sets[op.set], rest(tvb, 4), 0)
  pinfo.cols.protocol = "nlpeer"
  pinfo.cols.info = string.format("%s, %d bytes", name, tvb:len() - 4)
  return tvb:len()
end

-- Acknowledgments. Wireshark's dissector shows them and asks nobody, so this one
-- comes after it and walks through the datagram again.
local family, text = Field.new("netlink.family"), Field.new("netlink_ack.msg")
local COOKED, ERROR, DONE, CAPPED, TLVS = 16, 2, 3, 0x100, 0x200

local function bit(flags, mask) return math.floor(flags / mask) % 2 == 1 end

function ack_proto.dissector(tvb, pinfo, tree)
  local protocol = family()
  if not protocol or protocol.value == 11 then return end -- the connector uses DONE for all
  local at, shown = COOKED, 0
  while at + 16 <= tvb:len() do
    little = tvb(at, 4):le_uint() < 0x1000000
    local len, typ, flags = uint(tvb(at, 4)), uint(tvb(at + 4, 2)), uint(tvb(at + 6, 2))
    if len < 16 or at + len > tvb:len() then return end
    local from = nil
    if typ == ERROR and len >= 36 then
      from = 36
      if not bit(flags, CAPPED) then from = aligned(20 + uint(tvb(at + 20, 4))) end
    elseif typ == DONE then
      from = 20
    end
    if from and bit(flags, TLVS) and from < len then
      local range = tvb(at + from, len - from)
      local top = tree:add(ack_proto, range, "Extended acknowledgment")
      attrs(top, ack, ack.sets["netlink_ack"], range, 0)
      -- The texts of the messages before are there, too.
      local said = { text() }
      for i = shown + 1, #said do pinfo.cols.info:append(said[i].display) end
      shown = #said
    end
    at = at + aligned(len)
  end
end

-- Wireshark's netlink dissector hands over by protocol number and family name.
local registered = nil
local function register()
  local protocols = DissectorTable.get("netlink.protocol")
  if registered then protocols:remove(registered, raw_proto) end
  registered = raw_proto.prefs.number
  protocols:add(registered, raw_proto)
end
register()
raw_proto.prefs_changed = register
DissectorTable.get("genl.family"):add(spec.family, genl_proto)
register_postdissector(ack_proto)
