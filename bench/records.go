// A slice of 1,000 maps { id, name } through a channel, each a copy of its own, as
// Rille's receiver has one.
package main

import "fmt"

type record = map[string]any

func records() []record {
	list := make([]record, 1000)
	for i := range list {
		list[i] = record{"id": i, "name": fmt.Sprint("record ", i)}
	}
	return list
}

func clone(list []record) []record {
	copies := make([]record, len(list))
	for i, r := range list {
		m := make(record, len(r))
		for k, v := range r {
			m[k] = v
		}
		copies[i] = m
	}
	return copies
}

func produce(ch chan []record, n int) {
	list := records()
	for i := 0; i < n; i++ {
		ch <- clone(list)
	}
}

func transfer(n int) {
	ch := make(chan []record)
	go produce(ch, n)
	for i := 0; i < n; i++ {
		<-ch
	}
}

func main() {
	done := make(chan float64)
	go func() { done <- measure(arg(1, 500), transfer) }()
	report("records-1000", <-done*1e6, "us")
}
