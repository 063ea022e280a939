// 1 MiB strings through a channel, each a copy of its own, as Rille's receiver has one.
package main

import "strings"

const size = 1 << 20

func produce(ch chan string, n int) {
	s := strings.Repeat("x", size)
	for i := 0; i < n; i++ {
		ch <- strings.Clone(s)
	}
}

func transfer(n int) {
	ch := make(chan string)
	go produce(ch, n)
	for i := 0; i < n; i++ {
		<-ch
	}
}

func main() {
	done := make(chan float64)
	go func() { done <- measure(arg(1, 2000), transfer) }()
	report("strings-1MiB", size/<-done*1e-9, "GB/s")
}
