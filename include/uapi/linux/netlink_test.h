/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	spec/netlink_test.yaml */
/* YNL-GEN uapi header */
/* To regenerate run: make generate */

#ifndef _UAPI_LINUX_NETLINK_TEST_H
#define _UAPI_LINUX_NETLINK_TEST_H

#define NETLINK_TEST_FAMILY_NAME	"netlink-test"
#define NETLINK_TEST_FAMILY_VERSION	1

#define NETLINK_TEST	31

enum {
	NETLINK_TEST_A_EVENT_GROUP = 1,
	NETLINK_TEST_A_EVENT_SEQ,
	NETLINK_TEST_A_EVENT_TIME,
	NETLINK_TEST_A_EVENT_KIND,
	NETLINK_TEST_A_EVENT_DATA,
	NETLINK_TEST_A_EVENT_PAD,

	__NETLINK_TEST_A_EVENT_MAX,
	NETLINK_TEST_A_EVENT_MAX = (__NETLINK_TEST_A_EVENT_MAX - 1)
};

enum {
	NETLINK_TEST_MSG_ECHO = 16,
	NETLINK_TEST_MSG_EVENT,

	__NETLINK_TEST_MSG_MAX,
	NETLINK_TEST_MSG_MAX = (__NETLINK_TEST_MSG_MAX - 1)
};

#define NETLINK_TEST_MCGRP_BEACON	"beacon"

#endif /* _UAPI_LINUX_NETLINK_TEST_H */
