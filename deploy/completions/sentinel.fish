# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_sentinel_global_optspecs
    string join \n v/version h/help
end

function __fish_sentinel_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_sentinel_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_sentinel_using_subcommand
    set -l cmd (__fish_sentinel_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c sentinel -n "__fish_sentinel_needs_command" -s v -s V -l version -d 'Print the version'
complete -c sentinel -n "__fish_sentinel_needs_command" -s h -l help -d 'Print help'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "server" -d 'Run the bundled data server'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "up" -d 'Start a whole topology on this machine and watch it'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "status" -d 'Show a running set: addresses, ids, pids, log files, and whether all is well'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "top" -d 'Show masters, replicas, lag and events live in the terminal'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "watch" -d 'Print events as they happen'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "failover" -d 'Replace a master by one of its replicas now'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "pause" -d 'Suspend automatic failovers of a master'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "resume" -d 'End a pause'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "forget" -d 'Make a sentinel forget a replica or another sentinel that is gone'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "explain" -d 'Tell why a master was failed over, or why it was not'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "check" -d 'Look for mistakes and risky choices in a configuration'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "convert" -d 'Print a sentinel.conf as YAML'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "completions" -d 'Print shell completions'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "man" -d 'Print the manual page, or write all of them into a folder'
complete -c sentinel -n "__fish_sentinel_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sentinel -n "__fish_sentinel_using_subcommand server" -s h -l help -d 'Print help'
complete -c sentinel -n "__fish_sentinel_using_subcommand up" -l replicas -d 'Replicas of the master [default: 2]' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand up" -l sentinels -d 'Sentinels [default: 3]' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand up" -l base-port -d 'Port of the master; replicas follow it, sentinels are 20000 above [default: first free from 6379]' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand up" -l dir -d 'Folder for all files, kept afterwards [default: a temporary one, removed afterwards]' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand up" -l with -d 'A redis-server or valkey-server to use instead of the bundled data server' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand up" -l color -d 'Colours; auto: on a terminal, unless the environment has NO_COLOR' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c sentinel -n "__fish_sentinel_using_subcommand up" -l restart -d 'Start a child that died again, after a pause that grows'
complete -c sentinel -n "__fish_sentinel_using_subcommand up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -l interval -d 'Pause between two looks' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -l sentinel -d 'A sentinel; may be given several times. They are asked in this order until one answers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -l user -d 'User name at the sentinels and data servers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -l pass -d 'Password at the sentinels and data servers; better in the environment, where other users of this machine do not see it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -l timeout -d 'How long a sentinel may take to connect, and to answer; pause and resume, for which it asks the others, have 2s more, and `status` and `top` give each member twice as long for all that they ask of it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -l cacert -d 'Whom to trust: the authority that signed the servers\' certificates, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -l cert -d 'Our own certificate, PEM, for servers that want one' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -l key -d 'Its key, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -l color -d 'Colours; auto: on a terminal, unless the environment has NO_COLOR' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -l json -d 'Print JSON'
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -l watch -d 'Again and again, in place; with --json one line each time'
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -l tls -d 'Connect over TLS'
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -l insecure -d 'Trust any certificate'
complete -c sentinel -n "__fish_sentinel_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sentinel -n "__fish_sentinel_using_subcommand top" -l interval -d 'Pause between two looks' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand top" -l sentinel -d 'A sentinel; may be given several times. They are asked in this order until one answers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand top" -l user -d 'User name at the sentinels and data servers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand top" -l pass -d 'Password at the sentinels and data servers; better in the environment, where other users of this machine do not see it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand top" -l timeout -d 'How long a sentinel may take to connect, and to answer; pause and resume, for which it asks the others, have 2s more, and `status` and `top` give each member twice as long for all that they ask of it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand top" -l cacert -d 'Whom to trust: the authority that signed the servers\' certificates, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand top" -l cert -d 'Our own certificate, PEM, for servers that want one' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand top" -l key -d 'Its key, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand top" -l color -d 'Colours; auto: on a terminal, unless the environment has NO_COLOR' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c sentinel -n "__fish_sentinel_using_subcommand top" -l tls -d 'Connect over TLS'
complete -c sentinel -n "__fish_sentinel_using_subcommand top" -l insecure -d 'Trust any certificate'
complete -c sentinel -n "__fish_sentinel_using_subcommand top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sentinel -n "__fish_sentinel_using_subcommand watch" -l sentinel -d 'A sentinel; may be given several times. They are asked in this order until one answers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand watch" -l user -d 'User name at the sentinels and data servers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand watch" -l pass -d 'Password at the sentinels and data servers; better in the environment, where other users of this machine do not see it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand watch" -l timeout -d 'How long a sentinel may take to connect, and to answer; pause and resume, for which it asks the others, have 2s more, and `status` and `top` give each member twice as long for all that they ask of it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand watch" -l cacert -d 'Whom to trust: the authority that signed the servers\' certificates, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand watch" -l cert -d 'Our own certificate, PEM, for servers that want one' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand watch" -l key -d 'Its key, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand watch" -l color -d 'Colours; auto: on a terminal, unless the environment has NO_COLOR' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c sentinel -n "__fish_sentinel_using_subcommand watch" -l json -d 'Print one JSON object per line'
complete -c sentinel -n "__fish_sentinel_using_subcommand watch" -l all -d 'Also the steps in between, which the other lines imply'
complete -c sentinel -n "__fish_sentinel_using_subcommand watch" -l tls -d 'Connect over TLS'
complete -c sentinel -n "__fish_sentinel_using_subcommand watch" -l insecure -d 'Trust any certificate'
complete -c sentinel -n "__fish_sentinel_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sentinel -n "__fish_sentinel_using_subcommand failover" -l sentinel -d 'A sentinel; may be given several times. They are asked in this order until one answers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand failover" -l user -d 'User name at the sentinels and data servers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand failover" -l pass -d 'Password at the sentinels and data servers; better in the environment, where other users of this machine do not see it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand failover" -l timeout -d 'How long a sentinel may take to connect, and to answer; pause and resume, for which it asks the others, have 2s more, and `status` and `top` give each member twice as long for all that they ask of it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand failover" -l cacert -d 'Whom to trust: the authority that signed the servers\' certificates, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand failover" -l cert -d 'Our own certificate, PEM, for servers that want one' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand failover" -l key -d 'Its key, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand failover" -l color -d 'Colours; auto: on a terminal, unless the environment has NO_COLOR' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c sentinel -n "__fish_sentinel_using_subcommand failover" -l no-wait -d 'Do not wait for the end'
complete -c sentinel -n "__fish_sentinel_using_subcommand failover" -l tls -d 'Connect over TLS'
complete -c sentinel -n "__fish_sentinel_using_subcommand failover" -l insecure -d 'Trust any certificate'
complete -c sentinel -n "__fish_sentinel_using_subcommand failover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sentinel -n "__fish_sentinel_using_subcommand pause" -l sentinel -d 'A sentinel; may be given several times. They are asked in this order until one answers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand pause" -l user -d 'User name at the sentinels and data servers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand pause" -l pass -d 'Password at the sentinels and data servers; better in the environment, where other users of this machine do not see it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand pause" -l timeout -d 'How long a sentinel may take to connect, and to answer; pause and resume, for which it asks the others, have 2s more, and `status` and `top` give each member twice as long for all that they ask of it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand pause" -l cacert -d 'Whom to trust: the authority that signed the servers\' certificates, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand pause" -l cert -d 'Our own certificate, PEM, for servers that want one' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand pause" -l key -d 'Its key, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand pause" -l color -d 'Colours; auto: on a terminal, unless the environment has NO_COLOR' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c sentinel -n "__fish_sentinel_using_subcommand pause" -l tls -d 'Connect over TLS'
complete -c sentinel -n "__fish_sentinel_using_subcommand pause" -l insecure -d 'Trust any certificate'
complete -c sentinel -n "__fish_sentinel_using_subcommand pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sentinel -n "__fish_sentinel_using_subcommand resume" -l sentinel -d 'A sentinel; may be given several times. They are asked in this order until one answers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand resume" -l user -d 'User name at the sentinels and data servers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand resume" -l pass -d 'Password at the sentinels and data servers; better in the environment, where other users of this machine do not see it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand resume" -l timeout -d 'How long a sentinel may take to connect, and to answer; pause and resume, for which it asks the others, have 2s more, and `status` and `top` give each member twice as long for all that they ask of it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand resume" -l cacert -d 'Whom to trust: the authority that signed the servers\' certificates, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand resume" -l cert -d 'Our own certificate, PEM, for servers that want one' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand resume" -l key -d 'Its key, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand resume" -l color -d 'Colours; auto: on a terminal, unless the environment has NO_COLOR' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c sentinel -n "__fish_sentinel_using_subcommand resume" -l tls -d 'Connect over TLS'
complete -c sentinel -n "__fish_sentinel_using_subcommand resume" -l insecure -d 'Trust any certificate'
complete -c sentinel -n "__fish_sentinel_using_subcommand resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sentinel -n "__fish_sentinel_using_subcommand forget" -l sentinel -d 'A sentinel; may be given several times. They are asked in this order until one answers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand forget" -l user -d 'User name at the sentinels and data servers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand forget" -l pass -d 'Password at the sentinels and data servers; better in the environment, where other users of this machine do not see it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand forget" -l timeout -d 'How long a sentinel may take to connect, and to answer; pause and resume, for which it asks the others, have 2s more, and `status` and `top` give each member twice as long for all that they ask of it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand forget" -l cacert -d 'Whom to trust: the authority that signed the servers\' certificates, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand forget" -l cert -d 'Our own certificate, PEM, for servers that want one' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand forget" -l key -d 'Its key, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand forget" -l color -d 'Colours; auto: on a terminal, unless the environment has NO_COLOR' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c sentinel -n "__fish_sentinel_using_subcommand forget" -l tls -d 'Connect over TLS'
complete -c sentinel -n "__fish_sentinel_using_subcommand forget" -l insecure -d 'Trust any certificate'
complete -c sentinel -n "__fish_sentinel_using_subcommand forget" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sentinel -n "__fish_sentinel_using_subcommand explain" -l count -d 'No more than this many decisions, newest first' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand explain" -l sentinel -d 'A sentinel; may be given several times. They are asked in this order until one answers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand explain" -l user -d 'User name at the sentinels and data servers' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand explain" -l pass -d 'Password at the sentinels and data servers; better in the environment, where other users of this machine do not see it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand explain" -l timeout -d 'How long a sentinel may take to connect, and to answer; pause and resume, for which it asks the others, have 2s more, and `status` and `top` give each member twice as long for all that they ask of it' -r
complete -c sentinel -n "__fish_sentinel_using_subcommand explain" -l cacert -d 'Whom to trust: the authority that signed the servers\' certificates, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand explain" -l cert -d 'Our own certificate, PEM, for servers that want one' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand explain" -l key -d 'Its key, PEM' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand explain" -l color -d 'Colours; auto: on a terminal, unless the environment has NO_COLOR' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c sentinel -n "__fish_sentinel_using_subcommand explain" -l tls -d 'Connect over TLS'
complete -c sentinel -n "__fish_sentinel_using_subcommand explain" -l insecure -d 'Trust any certificate'
complete -c sentinel -n "__fish_sentinel_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sentinel -n "__fish_sentinel_using_subcommand check" -l state-file -d 'Where the sentinel\'s state is, if the command line of the sentinel says so' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand check" -l color -d 'Colours; auto: on a terminal, unless the environment has NO_COLOR' -r -f -a "auto\t'On a terminal'
always\t'Always'
never\t'Never'"
complete -c sentinel -n "__fish_sentinel_using_subcommand check" -l server -d 'It configures a data server [default: what its lines say]'
complete -c sentinel -n "__fish_sentinel_using_subcommand check" -l json -d 'Print JSON'
complete -c sentinel -n "__fish_sentinel_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sentinel -n "__fish_sentinel_using_subcommand convert" -l state -d 'Write what was learned into this file, which must not exist' -r -F
complete -c sentinel -n "__fish_sentinel_using_subcommand convert" -s h -l help -d 'Print help'
complete -c sentinel -n "__fish_sentinel_using_subcommand completions" -s h -l help -d 'Print help'
complete -c sentinel -n "__fish_sentinel_using_subcommand man" -s h -l help -d 'Print help'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "server" -d 'Run the bundled data server'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "up" -d 'Start a whole topology on this machine and watch it'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "status" -d 'Show a running set: addresses, ids, pids, log files, and whether all is well'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "top" -d 'Show masters, replicas, lag and events live in the terminal'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "watch" -d 'Print events as they happen'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "failover" -d 'Replace a master by one of its replicas now'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "pause" -d 'Suspend automatic failovers of a master'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "resume" -d 'End a pause'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "forget" -d 'Make a sentinel forget a replica or another sentinel that is gone'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "explain" -d 'Tell why a master was failed over, or why it was not'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "check" -d 'Look for mistakes and risky choices in a configuration'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "convert" -d 'Print a sentinel.conf as YAML'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "completions" -d 'Print shell completions'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "man" -d 'Print the manual page, or write all of them into a folder'
complete -c sentinel -n "__fish_sentinel_using_subcommand help; and not __fish_seen_subcommand_from server up status top watch failover pause resume forget explain check convert completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
