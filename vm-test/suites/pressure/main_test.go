// SPDX-License-Identifier: MIT

package pressure_test

import (
	"testing"

	"nlpeer/vm-test/suites/vmtest"
)

func TestMain(m *testing.M) { vmtest.Main(m) }
