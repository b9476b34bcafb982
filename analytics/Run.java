// SPDX-License-Identifier: Apache-2.0

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.StatementSet;
import org.apache.flink.table.api.TableEnvironment;

/**
 * Runs files of Flink SQL as one job: on the local runtime where Flink's libraries are on the class path, on a cluster
 * as the main class of a jar that is submitted there. ${NAME} is the environment's.
 */
public class Run {
    private static final Pattern NAME = Pattern.compile("\\$\\{(\\w+)\\}");
    private static final Pattern SET = Pattern.compile("SET\\s+'([^']+)'\\s*=\\s*'([^']*)'", Pattern.CASE_INSENSITIVE);

    public static void main(String[] files) throws Exception {
        TableEnvironment tables = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        StatementSet job = tables.createStatementSet();
        for (String file : files) {
            String text = Files.readString(Path.of(file)).replaceAll("(?m)^\\s*--.*$", "");
            // A semicolon at the end of a line ends a statement.
            for (String statement : NAME.matcher(text).replaceAll(Run::value).split("(?m);\\s*$")) {
                run(tables, job, statement.strip());
            }
        }
        job.execute().await();
    }

    private static void run(TableEnvironment tables, StatementSet job, String statement) {
        Matcher set = SET.matcher(statement);
        if (set.matches()) {
            tables.getConfig().set(set.group(1), set.group(2));
        } else if (statement.startsWith("INSERT")) {
            job.addInsertSql(statement);
        } else if (!statement.isEmpty()) {
            tables.executeSql(statement);
        }
    }

    private static String value(MatchResult name) {
        String value = System.getenv(name.group(1));
        if (value == null) {
            throw new IllegalArgumentException("expected " + name.group(1) + " in the environment");
        }
        return Matcher.quoteReplacement(value);
    }
}
