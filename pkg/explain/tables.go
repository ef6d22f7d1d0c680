// SPDX-License-Identifier: MIT

package explain

// A table is what is known of a family or protocol. Those of nlpeer are
// generated; the others stand here.
type table struct {
	name string
	ops  map[uint16]operation // by command or message type
	sets map[string]set
}

// An operation is a command or a message type.
type operation struct {
	name, c string
	set     string // of its attributes
	opaque  bool   // it has bytes instead
	event   bool   // nobody asks for it
}

// A set is one number space of attributes.
type set map[uint16]attribute

type attribute struct {
	name, c string
	typ     string // in the words of the specification language
	nest    string // the set of a nest
	enum    string
}

// An enum names values, or with flags single bits.
type enum struct {
	flags  bool
	values []enumValue
}

type enumValue struct {
	value   uint64
	name, c string
}

// name returns what a value is called in C, "" if it has no name.
func (e *enum) name(v uint64) string {
	for _, x := range e.values {
		if x.value == v {
			return x.c
		}
	}
	return ""
}

// integerSizes are the lengths of the integer types in bytes; 0 stands for 4 or
// 8.
var integerSizes = map[string]int{
	"u8": 1, "u16": 2, "u32": 4, "u64": 8,
	"s8": 1, "s16": 2, "s32": 4, "s64": 8,
	"uint": 0, "sint": 0,
}

// Protocol numbers (NETLINK_* in linux/netlink.h).
const (
	protocolRoute     = 0
	protocolConnector = 11
	protocolUevent    = 15
)

var protocols = map[int]string{
	0: "NETLINK_ROUTE", 1: "NETLINK_UNUSED", 2: "NETLINK_USERSOCK", 3: "NETLINK_FIREWALL", 4: "NETLINK_SOCK_DIAG",
	5: "NETLINK_NFLOG", 6: "NETLINK_XFRM", 7: "NETLINK_SELINUX", 8: "NETLINK_ISCSI", 9: "NETLINK_AUDIT",
	10: "NETLINK_FIB_LOOKUP", 11: "NETLINK_CONNECTOR", 12: "NETLINK_NETFILTER", 13: "NETLINK_IP6_FW",
	14: "NETLINK_DNRTMSG", 15: "NETLINK_KOBJECT_UEVENT", 16: "NETLINK_GENERIC", 18: "NETLINK_SCSITRANSPORT",
	19: "NETLINK_ECRYPTFS", 20: "NETLINK_RDMA", 21: "NETLINK_CRYPTO", 22: "NETLINK_SMC",
}

// messageTypes are those of netlink itself.
var messageTypes = map[uint16]string{1: "NLMSG_NOOP", 2: "NLMSG_ERROR", 3: "NLMSG_DONE", 4: "NLMSG_OVERRUN"}

// ackTable is the extended acknowledgment (enum nlmsgerr_attrs and enum
// netlink_policy_type_attr in linux/netlink.h).
var ackTable = table{
	name: "extended acknowledgment",
	sets: map[string]set{
		"extended-ack": {
			1: {name: "msg", c: "NLMSGERR_ATTR_MSG", typ: "string"},
			2: {name: "offs", c: "NLMSGERR_ATTR_OFFS", typ: "u32"},
			3: {name: "cookie", c: "NLMSGERR_ATTR_COOKIE", typ: "binary"},
			4: {name: "policy", c: "NLMSGERR_ATTR_POLICY", typ: "nest", nest: "policy"},
			5: {name: "miss-type", c: "NLMSGERR_ATTR_MISS_TYPE", typ: "u32"},
			6: {name: "miss-nest", c: "NLMSGERR_ATTR_MISS_NEST", typ: "u32"},
		},
		"policy": policySet,
	},
}

var policySet = set{
	1:  {name: "type", c: "NL_POLICY_TYPE_ATTR_TYPE", typ: "u32", enum: "policy-type"},
	2:  {name: "min-value-s", c: "NL_POLICY_TYPE_ATTR_MIN_VALUE_S", typ: "s64"},
	3:  {name: "max-value-s", c: "NL_POLICY_TYPE_ATTR_MAX_VALUE_S", typ: "s64"},
	4:  {name: "min-value-u", c: "NL_POLICY_TYPE_ATTR_MIN_VALUE_U", typ: "u64"},
	5:  {name: "max-value-u", c: "NL_POLICY_TYPE_ATTR_MAX_VALUE_U", typ: "u64"},
	6:  {name: "min-length", c: "NL_POLICY_TYPE_ATTR_MIN_LENGTH", typ: "u32"},
	7:  {name: "max-length", c: "NL_POLICY_TYPE_ATTR_MAX_LENGTH", typ: "u32"},
	8:  {name: "policy-idx", c: "NL_POLICY_TYPE_ATTR_POLICY_IDX", typ: "u32"},
	9:  {name: "policy-maxtype", c: "NL_POLICY_TYPE_ATTR_POLICY_MAXTYPE", typ: "u32"},
	10: {name: "bitfield32-mask", c: "NL_POLICY_TYPE_ATTR_BITFIELD32_MASK", typ: "u32"},
	11: {name: "pad", c: "NL_POLICY_TYPE_ATTR_PAD", typ: "pad"},
	12: {name: "mask", c: "NL_POLICY_TYPE_ATTR_MASK", typ: "u64"},
}

// ctrlID is the message type of the controller.
const ctrlID = 16

// ctrlTable is the controller of generic netlink (linux/genetlink.h).
var ctrlTable = table{
	name: "nlctrl",
	ops: map[uint16]operation{
		1:  {name: "newfamily", c: "CTRL_CMD_NEWFAMILY", set: "ctrl"},
		2:  {name: "delfamily", c: "CTRL_CMD_DELFAMILY", set: "ctrl"},
		3:  {name: "getfamily", c: "CTRL_CMD_GETFAMILY", set: "ctrl"},
		4:  {name: "newops", c: "CTRL_CMD_NEWOPS", set: "ctrl"},
		5:  {name: "delops", c: "CTRL_CMD_DELOPS", set: "ctrl"},
		6:  {name: "getops", c: "CTRL_CMD_GETOPS", set: "ctrl"},
		7:  {name: "newmcast-grp", c: "CTRL_CMD_NEWMCAST_GRP", set: "ctrl"},
		8:  {name: "delmcast-grp", c: "CTRL_CMD_DELMCAST_GRP", set: "ctrl"},
		9:  {name: "getmcast-grp", c: "CTRL_CMD_GETMCAST_GRP", set: "ctrl"},
		10: {name: "getpolicy", c: "CTRL_CMD_GETPOLICY", set: "ctrl"},
	},
	sets: map[string]set{
		"ctrl": {
			1:  {name: "family-id", c: "CTRL_ATTR_FAMILY_ID", typ: "u16"},
			2:  {name: "family-name", c: "CTRL_ATTR_FAMILY_NAME", typ: "string"},
			3:  {name: "version", c: "CTRL_ATTR_VERSION", typ: "u32"},
			4:  {name: "hdrsize", c: "CTRL_ATTR_HDRSIZE", typ: "u32"},
			5:  {name: "maxattr", c: "CTRL_ATTR_MAXATTR", typ: "u32"},
			6:  {name: "ops", c: "CTRL_ATTR_OPS", typ: "nest-array", nest: "op"},
			7:  {name: "mcast-groups", c: "CTRL_ATTR_MCAST_GROUPS", typ: "nest-array", nest: "mcast-group"},
			8:  {name: "policy", c: "CTRL_ATTR_POLICY", typ: "nest-array-array", nest: "policy"},
			9:  {name: "op-policy", c: "CTRL_ATTR_OP_POLICY", typ: "nest-array", nest: "op-policy"},
			10: {name: "op", c: "CTRL_ATTR_OP", typ: "u32"},
		},
		"op": {
			1: {name: "id", c: "CTRL_ATTR_OP_ID", typ: "u32"},
			2: {name: "flags", c: "CTRL_ATTR_OP_FLAGS", typ: "u32", enum: "op-flags"},
		},
		"mcast-group": {
			1: {name: "name", c: "CTRL_ATTR_MCAST_GRP_NAME", typ: "string"},
			2: {name: "id", c: "CTRL_ATTR_MCAST_GRP_ID", typ: "u32"},
		},
		"op-policy": {
			1: {name: "do", c: "CTRL_ATTR_POLICY_DO", typ: "u32"},
			2: {name: "dump", c: "CTRL_ATTR_POLICY_DUMP", typ: "u32"},
		},
		"policy": policySet,
	},
}

// ownEnums are the enumerations of the tables that stand here.
var ownEnums = map[string]enum{
	"op-flags": {flags: true, values: []enumValue{
		{0x1, "admin-perm", "GENL_ADMIN_PERM"},
		{0x2, "cap-do", "GENL_CMD_CAP_DO"},
		{0x4, "cap-dump", "GENL_CMD_CAP_DUMP"},
		{0x8, "cap-haspol", "GENL_CMD_CAP_HASPOL"},
		{0x10, "uns-admin-perm", "GENL_UNS_ADMIN_PERM"},
	}},
	"policy-type": {values: []enumValue{
		{0, "invalid", "NL_ATTR_TYPE_INVALID"}, {1, "flag", "NL_ATTR_TYPE_FLAG"},
		{2, "u8", "NL_ATTR_TYPE_U8"}, {3, "u16", "NL_ATTR_TYPE_U16"}, {4, "u32", "NL_ATTR_TYPE_U32"}, {5, "u64", "NL_ATTR_TYPE_U64"},
		{6, "s8", "NL_ATTR_TYPE_S8"}, {7, "s16", "NL_ATTR_TYPE_S16"}, {8, "s32", "NL_ATTR_TYPE_S32"}, {9, "s64", "NL_ATTR_TYPE_S64"},
		{10, "binary", "NL_ATTR_TYPE_BINARY"}, {11, "string", "NL_ATTR_TYPE_STRING"}, {12, "nul-string", "NL_ATTR_TYPE_NUL_STRING"},
		{13, "nested", "NL_ATTR_TYPE_NESTED"}, {14, "nested-array", "NL_ATTR_TYPE_NESTED_ARRAY"}, {15, "bitfield32", "NL_ATTR_TYPE_BITFIELD32"},
		{16, "sint", "NL_ATTR_TYPE_SINT"}, {17, "uint", "NL_ATTR_TYPE_UINT"},
	}},
}

// A structure is a fixed header.
type structure struct {
	name    string
	members []member
}

func (s structure) size() int {
	n := 0
	for _, m := range s.members {
		n += m.size
	}
	return n
}

// The address of nlpeer on the connector, struct cb_id.
const (
	peerIdx = 16
	peerVal = 1
)

// cnMsg is the header of the connector (linux/connector.h).
var cnMsg = []member{
	{"id.idx", 4, nil}, {"id.val", 4, nil}, {"seq", 4, nil}, {"ack", 4, nil}, {"len", 2, nil}, {"flags", 2, nil},
}
