// Renders tests/golden/go_templates with Go's own text/template, as Ollama does, and writes rendered.json beside them:
//
//	cd tests/golden && go run go_templates.go
//
// It was run with Go 1.19; the standard library is all that it takes.
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"text/template/parse"
)

const folder = "go_templates"

type message struct {
	Role, Content, Thinking, ToolName, ToolCallID string
	Images, ToolCalls                             []any
}

// Whether a model is told to think: not said, no, yes.
var thinking = map[string]map[string]any{
	"":         {"Think": false, "IsThinkSet": false, "ThinkLevel": ""},
	"no think": {"Think": false, "IsThinkSet": true, "ThinkLevel": ""},
	"think":    {"Think": true, "IsThinkSet": true, "ThinkLevel": ""},
}

var functions = template.FuncMap{
	"json": func(value any) string {
		text, _ := json.Marshal(value)
		return string(text)
	},
	"currentDate":      func(...string) string { return "2025-01-01" },
	"yesterdayDate":    func(...string) string { return "2024-12-31" },
	"toTypeScriptType": func(any) string { return "any" },
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	var conversations map[string][]struct{ Role, Content string }
	text, err := os.ReadFile(filepath.Join(folder, "conversations.json"))
	check(err)
	check(json.Unmarshal(text, &conversations))
	paths, err := filepath.Glob(filepath.Join(folder, "*.gotmpl"))
	check(err)
	rendered := map[string]map[string]string{}
	for _, path := range paths {
		source, err := os.ReadFile(path)
		check(err)
		of := map[string]string{}
		for name, conversation := range conversations {
			var messages []*message
			for _, m := range conversation {
				messages = append(messages, &message{Role: m.Role, Content: m.Content})
			}
			system, joined := collated(messages)
			for how, think := range thinking {
				if how != "" && !strings.Contains(string(source), "IsThinkSet") {
					continue
				}
				of[strings.TrimSuffix(name+", "+how, ", ")] = render(string(source), system, joined, think)
			}
		}
		rendered[strings.TrimSuffix(filepath.Base(path), ".gotmpl")] = of
	}
	out, err := json.MarshalIndent(rendered, "", " ")
	check(err)
	check(os.WriteFile(filepath.Join(folder, "rendered.json"), append(out, '\n'), 0o644))
}

// The system texts together, and messages of one role in a row as one; those of tools stay apart.
func collated(messages []*message) (string, []*message) {
	var system []string
	var joined []*message
	for _, m := range messages {
		if m.Role == "system" {
			system = append(system, m.Content)
		}
		if n := len(joined); n > 0 && joined[n-1].Role == m.Role && m.Role != "tool" {
			joined[n-1].Content += "\n\n" + m.Content
			continue
		}
		copied := *m
		joined = append(joined, &copied)
	}
	return strings.Join(system, "\n\n"), joined
}

func render(source, system string, messages []*message, think map[string]any) string {
	parsed := template.Must(template.New("").Option("missingkey=zero").Funcs(functions).Parse(source))
	names := map[string]bool{}
	for _, t := range parsed.Templates() {
		identifiers(t.Root, names)
	}
	var out bytes.Buffer
	execute := func(values map[string]any) {
		for name, value := range think {
			values[name] = value
		}
		check(parsed.Execute(&out, values))
	}
	if names["messages"] {
		execute(map[string]any{"System": system, "Messages": messages, "Tools": []any(nil), "Response": ""})
		return out.String()
	}
	if !names["response"] {
		end := template.Must(template.New("").Parse("{{ .Response }}"))
		parsed.Root.Nodes = append(parsed.Root.Nodes, end.Root.Nodes...)
	}
	turn := map[string]any{"System": "", "Prompt": "", "Response": ""}
	flush := func() {
		execute(turn)
		turn = map[string]any{"System": "", "Prompt": "", "Response": ""}
	}
	for _, m := range messages {
		switch m.Role {
		case "system":
			if turn["Prompt"] != "" || turn["Response"] != "" {
				flush()
			}
			turn["System"] = m.Content
		case "user":
			if turn["Response"] != "" {
				flush()
			}
			turn["Prompt"] = m.Content
		case "assistant":
			turn["Response"] = m.Content
		}
	}
	cut := false
	parsed.Tree.Root = without(parsed.Root, &cut).(*parse.ListNode)
	flush()
	return out.String()
}

// The lower-case names of fields and variables; Ollama looks for messages and response among them.
func identifiers(node parse.Node, names map[string]bool) {
	add := func(found []string) {
		for _, name := range found {
			names[strings.ToLower(name)] = true
		}
	}
	branch := func(b *parse.BranchNode) {
		identifiers(b.Pipe, names)
		identifiers(b.List, names)
		if b.ElseList != nil {
			identifiers(b.ElseList, names)
		}
	}
	switch n := node.(type) {
	case *parse.ListNode:
		for _, inner := range n.Nodes {
			identifiers(inner, names)
		}
	case *parse.ActionNode:
		identifiers(n.Pipe, names)
	case *parse.TemplateNode:
		if n.Pipe != nil {
			identifiers(n.Pipe, names)
		}
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.PipeNode:
		for _, command := range n.Cmds {
			for _, argument := range command.Args {
				identifiers(argument, names)
			}
		}
	case *parse.FieldNode:
		add(n.Ident)
	case *parse.VariableNode:
		add(n.Ident)
	}
}

// The tree up to the first .Response that is written, or nothing of it.
func without(node parse.Node, cut *bool) parse.Node {
	if *cut {
		return nil
	}
	// Ollama panics where the cut is before an else; here each branch has an end of its own.
	branch := func(b *parse.BranchNode) {
		inList, inElse := false, false
		without(b.List, &inList)
		if b.ElseList != nil {
			without(b.ElseList, &inElse)
		}
		*cut = inList || inElse
	}
	switch n := node.(type) {
	case *parse.ListNode:
		var kept []parse.Node
		for _, inner := range n.Nodes {
			if left := without(inner, cut); left != nil {
				kept = append(kept, left)
			}
		}
		n.Nodes = kept
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.ActionNode:
		if without(n.Pipe, cut) == nil {
			return nil
		}
	case *parse.PipeNode:
		var commands []*parse.CommandNode
		for _, command := range n.Cmds {
			var kept []parse.Node
			for _, argument := range command.Args {
				if left := without(argument, cut); left != nil {
					kept = append(kept, left)
				}
			}
			if len(kept) == 0 {
				return nil
			}
			command.Args = kept
			commands = append(commands, command)
		}
		n.Cmds = commands
	case *parse.FieldNode:
		for _, name := range n.Ident {
			*cut = *cut || name == "Response"
		}
	}
	return node
}
