// SPDX-License-Identifier: MIT

package cli

// OpenNetNS opens a namespace by its path, or by its name in a folder.
var OpenNetNS = openNetNS
